"""Plot page: a comparison, a plan, or the history of runs, as one HTML file with plots that needs no network."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import DataRange1d, FixedTicker, HoverTool, LayoutDOM
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

from chatload import compare, cost, history
from chatload.compare import Side
from chatload.plan import Choice

_LABELS = 12  # on an axis
_COLOURS = ("#0067a5", "#c14a00", "#00785a", "#8f3f97", "#6b7580", "#7a5a00")  # told apart by the colour-blind too
_NINES: dict[float | str, Any] = {  # where -log10 of the share above a percentile lies
    0.0: "0",
    0.3010299956639812: "p50",
    1.0: "p90",
    2.0: "p99",
    3.0: "p99.9",
    4.0: "p99.99",
    5.0: "p99.999",
}


def comparison(sides: Sequence[Side], report: str) -> str:
    """Latency by percentile, side by side, with the text ``report`` below. In-process sides have no curve."""
    if not any(side.runs for side in sides):
        return _page("chatload compare", [], report)
    plot = _plot("latency from the intended time, ms")
    for colour, side in zip(itertools.cycle(_COLOURS), sides, strict=False):
        for run in side.runs:
            shares, latency_ms = compare.curve(run)
            plot.line(-np.log10(1 - shares), latency_ms, color=colour, line_width=2, alpha=0.8, legend_label=side.name)
    _label(plot, _NINES)
    plot.legend.location = "top_left"
    return _page("chatload compare", [plot], report)


def plan(choices: Sequence[Choice], grown: Mapping[str, Sequence[tuple[float, int]]], peak: float, report: str) -> str:
    """The monthly bill of each instance type over the traffic's peak (plan.growth), with the text ``report`` below."""
    if not grown:
        return _page("chatload plan", [], report)
    plot = _plot("$ a month", x_axis_type="log")
    plot.xaxis.axis_label = "arrivals per second at the peak"
    dollars_per_hour = {choice.candidate.instance: choice.candidate.dollars_per_hour for choice in choices}
    for colour, (instance, sizes) in zip(itertools.cycle(_COLOURS), grown.items(), strict=False):
        bills = [count * dollars_per_hour[instance] * cost.HOURS_A_MONTH for _, count in sizes]
        names = [instance] * len(sizes)
        source = {"rate": [rate for rate, _ in sizes], "bill": bills, "count": [count for _, count in sizes], "name": names}
        plot.line("rate", "bill", source=source, color=colour, line_width=2, legend_label=instance)
        plot.scatter("rate", "bill", source=source, color=colour, size=8)
    told = [("type", "@name"), ("at the peak", "@rate{0,0.[00]}/s"), ("instances", "@count"), ("$ a month", "@bill{0,0.00}")]
    plot.add_tools(HoverTool(tooltips=told))
    plot.vspan([peak], line_dash="dashed", line_color=_COLOURS[4], legend_label="the plan's peak")
    plot.legend.location = "top_left"
    return _page("chatload plan", [plot], report)


def trend(rows: Sequence[history.Row]) -> str:
    """p50, p90 and p99 from run to run, one plot for each kind of run, with the table below."""
    parts: list[LayoutDOM] = []
    for kind, runs in history.kinds(rows).items():
        parts += [_words(f"<h3>{html.escape(kind)}</h3>"), _trend(runs)]
    return _page("chatload history", parts, history.text(rows))


def _trend(runs: Sequence[history.Row]) -> figure:
    plot = _plot("latency, ms")
    for colour, metric in zip(_COLOURS, ("p50", "p90", "p99"), strict=False):
        found = [(number, run) for number, run in enumerate(runs) if run.metrics[metric].value is not None]
        numbers = [number for number, _ in found]
        values = [run.metrics[metric] for _, run in found]
        lows, highs = np.array([part.low for part in values], float), np.array([part.high for part in values], float)
        plot.segment(numbers, lows, numbers, highs, color=colour, alpha=0.4, line_width=3)
        source = {
            "x": numbers,
            "y": [part.value for part in values],
            "run": [run.name for _, run in found],
            "started": [run.started for _, run in found],
            "verdict": [run.outcome for _, run in found],
            "fill": ["white" if run.faulty else colour for _, run in found],
        }
        plot.line("x", "y", source=source, color=colour, legend_label=metric)
        plot.scatter("x", "y", source=source, line_color=colour, fill_color="fill", size=8)
    told = [("run", "@run"), ("started", "@started"), ("ms", "@y{0.00}"), ("verdict", "@verdict")]
    plot.add_tools(HoverTool(tooltips=told))
    step = max(len(runs) // _LABELS, 1)
    _label(plot, {float(number): run.started[:10] for number, run in enumerate(runs) if number % step == 0})
    plot.xaxis.major_label_orientation = 0.9
    plot.legend.location = "bottom_left"
    return plot


def _label(plot: figure, labels: dict[float | str, Any]) -> None:
    plot.xaxis.ticker = FixedTicker(ticks=[float(at) for at in labels])
    plot.xaxis.major_label_overrides = labels


def _plot(y: str, **options: Any) -> figure:
    plot = figure(y_axis_label=y, height=420, tools="pan,box_zoom,reset,save", **options)
    plot.y_range = DataRange1d(start=0)
    plot.sizing_mode = "stretch_width"
    plot.toolbar.logo = None
    return plot


def _words(markup: str) -> Div:
    return Div(text=markup, sizing_mode="stretch_width")


def _page(title: str, parts: Sequence[LayoutDOM], text: str) -> str:
    words = _words(f'<pre style="overflow-x: auto; max-width: 95vw">{html.escape(text)}</pre>')
    return file_html(column([*parts, words], sizing_mode="stretch_width"), INLINE, title)
