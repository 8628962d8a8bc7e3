"""Capacity page: latency over the offered rate, as one HTML file with plots that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bokeh.models import HoverTool, Range1d
from bokeh.models.annotations import BoxAnnotation, Span

from chatload import capacity_report, page, plots
from chatload.report import number

_BENEATH = 0.03  # of the axis: a mark so far below its top is seen whole
_MARKS = {"pass": ("circle", "blue"), "fail": ("x", "red"), "undecided": ("diamond", "green"), "invalid": ("square", "grey")}


def render(found: Mapping[str, Any], report: str) -> str:
    """Latency over the offered rate with intervals, a dashed line at each limit, the answer marked; ``report`` below.

    ``found`` is the content of a search's capacity.json.
    """
    made = {f"limit{number}": name for number, name in enumerate(found["limit_ms"])}
    drawn = {key: _latency_over_rate(found, name, found["limit_ms"][name]) for key, name in made.items()}
    return page.render(
        "plot_page.html",
        {key: plot for key, plot in drawn.items() if plot is not None},
        title=f"Capacity of {found['host']} within {found['objective']}, {capacity_report.answer(found)}",
        headings={key: f"{made[key]} of latency over the offered rate" for key, plot in drawn.items() if plot is not None},
        caption="A mark a probe with its 95 % interval; to the top: not bounded; at the top: failures reach so far. "
        "Dashed: the limit. Line and band: the answer with its interval.",
        text=report,
    )


def _latency_over_rate(found: Mapping[str, Any], name: str, limit_ms: float) -> plots.Plot | None:
    measured = [
        one for one in found["probes"] if one["p"][name]["value"] is not None or capacity_report.never_came(one, name)
    ]
    if not measured:
        return None
    # All of every bounded interval is seen: none of them shall look as if it were not bounded.
    values = plots.finite([one["p"][name][end] for one in measured for end in ("value", "low", "high")])
    plot = plots.blank("offered, per second", height=420, y_axis_type="log")
    low, high = min([*values, limit_ms]) / 1.25, max([*values, limit_ms]) * 1.25
    plot.y_range = Range1d(start=low, end=high)
    plots.ticks_in_ms(plot.yaxis, low, high)
    legend = []
    for answer, (marker, role) in _MARKS.items():
        probes = [one for one in measured if one["answer"] == answer]
        if probes:
            _marks(plot, probes, name, marker, plots.colour(role), high, high / (high / low) ** _BENEATH)
            legend.append((answer, role))
    plot.add_layout(Span(location=limit_ms, dimension="width", line_color=plots.colour("text"), line_dash="dashed"))
    if found["answer"]:
        answer, colour = found["answer"], plots.colour("purple")
        plot.add_layout(BoxAnnotation(left=answer["low"], right=answer["high"], fill_color=colour, fill_alpha=0.15))
        plot.add_layout(Span(location=answer["rate"], dimension="height", line_color=colour))
    return plots.Plot(plots.item(plot), f"{name}, ms", tuple(legend))


def _marks(
    plot: Any, probes: list[Mapping[str, Any]], name: str, marker: str, colour: str, top: float, unanswered: float
) -> None:
    estimates = [one["p"][name] for one in probes]
    source = {
        "x": [one["rate"] for one in probes],
        "y": [unanswered if estimate["value"] is None else estimate["value"] for estimate in estimates],
        "low": [top if estimate["low"] is None else estimate["low"] for estimate in estimates],
        "high": [top if estimate["high"] is None else estimate["high"] for estimate in estimates],
        "ms": [number(estimate["value"], unknown="no answer") for estimate in estimates],
        "run": [one["folder"] for one in probes],
    }
    plot.segment("x", "low", "x", "high", source=source, line_color=colour, line_alpha=0.5, line_width=3)
    dots = plot.scatter("x", "y", source=source, line_color=colour, fill_color=colour, size=9, marker=marker)
    plot.add_tools(HoverTool(renderers=[dots], tooltips=[("probe", "@run"), ("/s", "@x{0.0}"), ("ms", "@ms")]))
