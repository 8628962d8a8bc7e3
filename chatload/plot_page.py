"""Plot page: a comparison, the history of runs, or a capacity search, as one HTML file with plots that needs no network."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import DataRange1d, FixedTicker, HoverTool, LayoutDOM
from bokeh.models.annotations import BoxAnnotation, Span
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

from chatload import compare, history
from chatload.compare import Side

_LABELS = 12  # on an axis
_COLOURS = ("#0067a5", "#c14a00", "#00785a", "#8f3f97", "#6b7580", "#7a5a00")  # told apart by the colour-blind too
_MARKERS = {"pass": "circle", "fail": "x", "undecided": "diamond", "invalid": "square"}
_OPEN = 3  # times the value: where an interval without an upper end is cut
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


def trend(rows: Sequence[history.Row]) -> str:
    """p50, p90 and p99 from run to run, one plot for each kind of run, with the table below."""
    parts: list[LayoutDOM] = []
    for kind, runs in history.kinds(rows).items():
        parts += [_words(f"<h3>{html.escape(kind)}</h3>"), _trend(runs)]
    return _page("chatload history", parts, history.text(rows))


def capacity(found: Mapping[str, Any], report: str) -> str:
    """Latency over the offered rate with intervals, a dashed line at each limit, the answer marked; ``report`` below.

    ``found`` is the content of a search's capacity.json.
    """
    plots: list[LayoutDOM] = [_latency_over_rate(found, name, limit_ms) for name, limit_ms in found["limit_ms"].items()]
    return _page("chatload capacity", plots, report)


def _latency_over_rate(found: Mapping[str, Any], name: str, limit_ms: float) -> figure:
    plot = _plot(f"{name} of latency, ms", "log")
    plot.xaxis.axis_label = "offered, /s"
    for colour, (answer, marker) in zip(_COLOURS, _MARKERS.items(), strict=False):
        told = [one for one in found["probes"] if one["answer"] == answer and one["p"][name]["value"] is not None]
        values = [one["p"][name] for one in told]
        rates = [one["rate"] for one in told]
        highs = [_OPEN * value["value"] if value["high"] is None else value["high"] for value in values]
        plot.segment(rates, [value["low"] for value in values], rates, highs, color=colour, alpha=0.5, line_width=3)
        source = {"x": rates, "y": [value["value"] for value in values], "run": [one["folder"] for one in told]}
        if told:
            plot.scatter("x", "y", source=source, color=colour, size=9, marker=marker, legend_label=answer)
    plot.add_layout(Span(location=limit_ms, dimension="width", line_color=_COLOURS[1], line_dash="dashed"))
    if found["answer"]:
        plot.add_layout(BoxAnnotation(left=found["answer"]["low"], right=found["answer"]["high"], fill_alpha=0.15))
        plot.add_layout(Span(location=found["answer"]["rate"], dimension="height", line_color=_COLOURS[2]))
    plot.add_tools(HoverTool(tooltips=[("probe", "@run"), ("/s", "@x{0.0}"), ("ms", "@y{0.00}")]))
    if plot.legend:
        plot.legend.location = "top_left"
    return plot


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


def _plot(y: str, scale: Literal["linear", "log"] = "linear") -> figure:
    plot = figure(y_axis_label=y, y_axis_type=scale, height=420, tools="pan,box_zoom,reset,save")
    if scale == "linear":
        plot.y_range = DataRange1d(start=0)
    plot.sizing_mode = "stretch_width"
    plot.toolbar.logo = None
    return plot


def _words(markup: str) -> Div:
    return Div(text=markup, sizing_mode="stretch_width")


def _page(title: str, parts: Sequence[LayoutDOM], text: str) -> str:
    words = _words(f'<pre style="overflow-x: auto; max-width: 95vw">{html.escape(text)}</pre>')
    return file_html(column([*parts, words], sizing_mode="stretch_width"), INLINE, title)
