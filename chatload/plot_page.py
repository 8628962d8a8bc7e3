"""Plot page: a comparison, or the history of runs, as one HTML file with plots that needs no network."""

from __future__ import annotations

import html
from collections.abc import Sequence

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import Div, FixedTicker, HoverTool
from bokeh.palettes import Colorblind8
from bokeh.plotting import figure
from bokeh.resources import INLINE

from chatload import compare, history
from chatload.compare import Side

_NINES = {0: "0", 0.3010299956639812: "p50", 1: "p90", 2: "p99", 3: "p99.9", 4: "p99.99", 5: "p99.999"}


def comparison(sides: Sequence[Side], report: str) -> str:
    """Latency by percentile, side by side, with the text ``report`` below. In-process sides have no curve."""
    plot = _plot("Latency from the intended time, by percentile", "percentile", "ms")
    for color, side in zip(Colorblind8, [side for side in sides if side.runs], strict=False):
        for run in side.runs:
            shares, latency_ms = compare.curve(run)
            plot.line(-np.log10(1 - shares), latency_ms, color=color, line_width=2, alpha=0.8, legend_label=side.name)
    plot.xaxis.ticker = FixedTicker(ticks=list(_NINES))
    plot.xaxis.major_label_overrides = _NINES
    plot.legend.location = "top_left"
    return _page("chatload compare", [plot] if plot.renderers else [], report)


def trend(rows: Sequence[history.Row]) -> str:
    """p50, p90 and p99 from run to run, one plot for each kind of run, with the table below."""
    plots = [_trend(kind, runs) for kind, runs in history.kinds(rows).items()]
    return _page("chatload history", plots, history.text(rows))


def _trend(kind: str, runs: Sequence[history.Row]) -> figure:
    plot = _plot(kind, "run", "ms")
    labels = {number: run.started[:10] for number, run in enumerate(runs)}
    for color, metric in zip(Colorblind8, ("p50", "p90", "p99"), strict=False):
        found = [(number, run) for number, run in enumerate(runs) if run.metrics[metric].value is not None]
        numbers = [number for number, _ in found]
        values = [run.metrics[metric] for _, run in found]
        lows, highs = [part.low for part in values], [part.high for part in values]
        plot.segment(numbers, lows, numbers, highs, color=color, alpha=0.4, line_width=3)
        source = {
            "x": numbers,
            "y": [part.value for part in values],
            "run": [run.name for _, run in found],
            "started": [run.started for _, run in found],
            "verdict": [run.outcome for _, run in found],
            "fill": ["white" if run.outcome == "invalid" else color for _, run in found],
        }
        plot.line("x", "y", source=source, color=color, legend_label=metric)
        plot.scatter("x", "y", source=source, line_color=color, fill_color="fill", size=8)
    told = [("run", "@run"), ("started", "@started"), ("ms", "@y{0.00}"), ("verdict", "@verdict")]
    plot.add_tools(HoverTool(tooltips=told))
    plot.xaxis.ticker = FixedTicker(ticks=list(labels)[:: max(len(labels) // 8, 1)])
    plot.xaxis.major_label_overrides = labels
    plot.y_range.start = 0
    return plot


def _plot(title: str, x: str, y: str) -> figure:
    plot = figure(title=title, x_axis_label=x, y_axis_label=y, height=420, tools="pan,box_zoom,reset,save")
    plot.sizing_mode = "stretch_width"
    plot.toolbar.logo = None
    return plot


def _page(title: str, plots: Sequence[figure], text: str) -> str:
    words = Div(text=f'<pre style="overflow-x: auto; max-width: 95vw">{html.escape(text)}</pre>')
    return file_html(column([*plots, words], sizing_mode="stretch_width"), INLINE, title)
