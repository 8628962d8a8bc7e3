"""Plot page: a comparison, a log, or the history of runs, as one HTML file with plots that needs no network."""

from __future__ import annotations

import html
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.embed import file_html
from bokeh.layouts import column
from bokeh.models import DataRange1d, FixedTicker, HoverTool, LayoutDOM
from bokeh.models.text import PlainText
from bokeh.models.widgets import Div
from bokeh.plotting import figure
from bokeh.resources import INLINE

from chatload import compare, history
from chatload.compare import Side
from chatload.description import Description, Traffic, length_bands
from chatload.fitting import Fit

_LABELS = 12  # on an axis
_BARS = 30
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


def described(found: Description, fit: Fit | None, report: str) -> str:
    """What a log looks like: its rate, its dispersion beside what was fitted, lengths and intents, with the text below."""
    parts: list[LayoutDOM] = []
    if found.traffic:
        parts += [_words("<h3>arrivals per second over the log, seconds since its first row</h3>"), _rates(found.traffic)]
    if fit and fit.candidates:
        parts += [_words("<h3>dispersion of counts, over the window in seconds</h3>"), _dispersions(fit)]
    if found.log.words.total:
        bands = {band: share * 100 for band, share in length_bands(found.log.words).items()}
        parts += [_words("<h3>words an utterance, % of them</h3>"), _shares(bands)]
    if found.log.intents:
        total = found.log.intents.total()
        intents = {name: count / total * 100 for name, count in found.log.intents.most_common(_BARS)}
        parts += [_words(f"<h3>intents, % of the utterances (up to {_BARS})</h3>"), _shares(intents)]
    return _page("chatload describe", parts, report)


def _rates(traffic: Traffic) -> figure:
    plot = _plot("per second")
    starts_s = np.arange(len(traffic.rates)) * traffic.step_s
    source = {"left": starts_s, "right": starts_s + traffic.step_s, "top": traffic.rates}
    plot.quad("left", "right", "top", 0, source=source, color=_COLOURS[0], alpha=0.8)
    plot.add_tools(HoverTool(tooltips=[("from second", "@left{0,0}"), ("per second", "@top{0,0.[000]}")]))
    return plot


def _dispersions(fit: Fit) -> figure:
    """The log's dispersion by window, and that of what was tried; the profile with the most parts stands for all."""
    tried = {one.process.name.partition(",")[0]: one.means for one in fit.candidates}
    curves = {"the log": fit.candidates[0].measured} | tried
    windows = [name for name in fit.candidates[0].measured if name != "cv"]
    plot = _plot("variance over mean")
    for colour, (name, values) in zip(itertools.cycle(_COLOURS), curves.items(), strict=False):
        source = {"x": list(range(len(windows))), "y": [values[window] for window in windows], "name": [name] * len(windows)}
        plot.line("x", "y", source=source, color=colour, line_width=3 if name == "the log" else 1.5, legend_label=name)
        plot.scatter("x", "y", source=source, color=colour, size=7)
    _label(plot, {float(place): window.removeprefix("dispersion ") for place, window in enumerate(windows)})
    plot.add_tools(HoverTool(tooltips=[("of", "@name"), ("variance over mean", "@y{0,0.[000]}")]))
    plot.legend.location = "top_left"
    return plot


def _shares(shares: Mapping[str, float]) -> figure:
    plot = _plot("%")
    source = {"x": list(range(len(shares))), "top": list(shares.values()), "name": list(shares)}
    plot.vbar("x", 0.8, "top", source=source, color=_COLOURS[0], alpha=0.8)
    _label(plot, {float(place): PlainText(text=name) for place, name in enumerate(shares)})
    plot.xaxis.major_label_orientation = 0.9
    plot.add_tools(HoverTool(tooltips=[("of", "@name"), ("%", "@top{0.[00]}")]))
    return plot


def _label(plot: figure, labels: dict[float | str, Any]) -> None:
    plot.xaxis.ticker = FixedTicker(ticks=[float(at) for at in labels])
    plot.xaxis.major_label_overrides = labels


def _plot(y: str) -> figure:
    plot = figure(y_axis_label=y, height=420, tools="pan,box_zoom,reset,save")
    plot.y_range = DataRange1d(start=0)
    plot.sizing_mode = "stretch_width"
    plot.toolbar.logo = None
    return plot


def _words(markup: str) -> Div:
    return Div(text=markup, sizing_mode="stretch_width")


def _page(title: str, parts: Sequence[LayoutDOM], text: str) -> str:
    words = _words(f'<pre style="overflow-x: auto; max-width: 95vw">{html.escape(text)}</pre>')
    return file_html(column([*parts, words], sizing_mode="stretch_width"), INLINE, title)
