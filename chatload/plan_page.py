"""Plan page: the monthly bill of each instance type over the traffic, as one HTML file with a plot that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bokeh.models import HoverTool

from chatload import cost, page, plots
from chatload.plan import Choice


def render(choices: Sequence[Choice], grown: Mapping[str, Sequence[tuple[float, int]]], peak: float, report: str) -> str:
    """The monthly bill of each instance type over the traffic's peak (plan.growth), with the text ``report`` below."""
    return page.render(
        "plot_page.html",
        {"bills": _bills(choices, grown, peak)} if grown else {},
        title="chatload plan",
        headings={"bills": "What growth costs"} if grown else {},
        caption="Dashed: the plan's peak.",
        text=report,
    )


def _bills(choices: Sequence[Choice], grown: Mapping[str, Sequence[tuple[float, int]]], peak: float) -> plots.Plot:
    plot = plots.blank("arrivals per second at the peak", height=420, x_axis_type="log")
    dollars_per_hour = {choice.candidate.instance: choice.candidate.dollars_per_hour for choice in choices}
    legend = []
    for number, (instance, sizes) in enumerate(grown.items()):
        bills = [count * dollars_per_hour[instance] * cost.HOURS_A_MONTH for _, count in sizes]
        source = {"rate": [rate for rate, _ in sizes], "bill": bills, "count": [count for _, count in sizes]}
        colour = plots.colour(plots.series(number))
        plot.line("rate", "bill", source=source, color=colour, line_width=2)
        dots = plot.scatter("rate", "bill", source=source, color=colour, size=8)
        told = [("type", instance), ("at the peak", "@rate{0,0.[00]}/s")]
        told += [("instances", "@count"), ("$ a month", "@bill{0,0.00}")]
        plot.add_tools(HoverTool(renderers=[dots], tooltips=told))
        legend.append((instance, plots.series(number)))
    plot.vspan([peak], line_dash="dashed", line_color=plots.colour("muted"))
    return plots.Plot(plots.item(plot), "$ a month", tuple(legend))
