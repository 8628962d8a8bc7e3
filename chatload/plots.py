"""Plots: a report's figures as Bokeh's JSON, to be drawn by the script of the page. Nothing is computed here, only placed.

Colours are those of the light scheme; the page's script replaces them by their dark counterparts (COLOURS) where the reader
wants it dark. So each colour of the light scheme is used for one thing only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.embed import json_item
from bokeh.models import FixedTicker, HoverTool, LogColorMapper, Range1d
from bokeh.models.annotations import BoxAnnotation
from bokeh.models.text import PlainText
from bokeh.plotting import figure
from bokeh.themes import Theme

from chatload import report
from chatload.colours import COLOURS
from chatload.figures import Band, Figures, Group, Heat, Line, Point, nines
from chatload.objective import Estimate
from chatload.statistics import PERCENTILES

_HEAT = [light for role, (light, _) in COLOURS.items() if role.startswith("heat")]
_SERIES = ("blue", "green", "red", "purple", "grey")
SERIES = len(_SERIES)  # so many lines have a colour of their own
_GROUP_MARKS = {"p50": "blue", "p90": "green"}
_SECONDS = "seconds since the start"
_ALL_INTENTS = 40
_LABEL_LETTERS = 22
_NARROW = 5.0  # between values so far apart are two ticks of 1, 2 and 5 at least

_FONT = "system-ui, sans-serif"
_THEME = Theme(
    json={
        "attrs": {
            # Filled, not left out: where nothing is filled, what a plot drew before it was resized stays.
            "Plot": {
                "background_fill_color": COLOURS["surface"][0],
                "border_fill_color": COLOURS["surface"][0],
                "outline_line_color": None,
            },
            "Axis": {
                "axis_label_text_font": _FONT,
                "axis_label_text_font_style": "normal",
                "axis_label_text_font_size": "12px",
                "axis_label_text_color": COLOURS["muted"][0],
                "major_label_text_font": _FONT,
                "major_label_text_font_size": "12px",
                "major_label_text_color": COLOURS["text"][0],
                "axis_line_color": COLOURS["muted"][0],
                "major_tick_line_color": COLOURS["muted"][0],
                "minor_tick_line_color": None,
            },
            "Grid": {"grid_line_color": COLOURS["grid"][0]},
        }
    }
)


@dataclass(frozen=True)
class Plot:
    """A plot for the page: Bokeh's JSON of it, what its upward axis counts, its legend as (label, role of the colour)."""

    item: dict
    unit: str
    legend: tuple[tuple[str, str], ...] = ()


def draw(drawn: Figures, cpu: Sequence[Line], limits_ms: dict[float, float], warmup_s: float) -> dict[str, Plot]:
    """The plots of a report by name; those that would show nothing are left out.

    ``limits_ms`` are the objective's limits by percentile (a share).
    """
    plots = {}
    if drawn.curve:
        plots["percentiles"] = _percentiles(drawn.curve, limits_ms)
    if drawn.latency:
        plots["latency"] = _over_time(drawn.latency, "latency, ms", log=True)
    if drawn.heat is not None:
        plots["heat"] = _heat(drawn.heat, warmup_s)
        plots["traffic"] = _over_time(drawn.traffic, "per second", warmup_s=warmup_s)
        moments = Line("in flight", drawn.moments_s, drawn.in_flight[:-1].astype(float))
        plots["in_flight"] = _over_time([moments], "requests in flight", warmup_s=warmup_s)
    if drawn.failures:
        plots["failures"] = _stacked_over_time(drawn.failures, warmup_s)
    if drawn.bands:
        plots["bands"] = _bands(drawn.bands)
    if drawn.lengths:
        plots["lengths"] = _groups(drawn.lengths)
    if drawn.intents:
        plots["intents"] = _groups(most_frequent(drawn.intents))
    if drawn.lag:
        plots["lag"] = _over_time(drawn.lag, "lag, ms", log=True)
    if cpu:
        plots["cpu"] = _over_time(cpu, "share of a core", full=1.0)
    return plots


def most_frequent(groups: Sequence[Group]) -> list[Group]:
    """The groups with the most arrivals, as many as a plot has room for, in their order."""
    kept = sorted(groups, key=lambda group: -group.count)[:_ALL_INTENTS]
    return [group for group in groups if group in kept]


def colour(role: str) -> str:
    """The light colour of a role: the page's script finds it and puts the dark one in its place."""
    return COLOURS[role][0]


def series(number: int) -> str:
    """The role of the colour of the n-th line."""
    return _SERIES[number % len(_SERIES)]


def blank(x_label: str, height: int = 280, **options: Any) -> Any:
    """A plot as wide as the page lets it be."""
    plot = figure(
        height=height,
        sizing_mode="stretch_width",
        tools="box_zoom,reset",
        active_drag=None,
        toolbar_location="above",
        **options,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    plot.xaxis.axis_label = x_label
    return plot


def item(plot: Any) -> dict:
    """Bokeh's JSON of a plot."""
    return dict(json_item(plot, theme=_THEME))


def ticks_in_ms(axis: Any, low: float, high: float, place: Callable[[float], float] = float) -> None:
    """Ticks between two values; ``place`` says where on the axis a value stands, itself on one that is logarithmic."""
    ticks = ticks_between(low, high)
    labels = {place(tick): f"{tick:,g}" if tick < 1e6 else f"{tick:,.0f}" for tick in ticks}
    axis.ticker = FixedTicker(ticks=list(labels))
    axis.major_label_overrides = labels


def ticks_between(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten, the powers alone where those are many, or even steps where those are few."""
    if low == high:
        return [low]
    if high / low < _NARROW:
        return steps_between(low, high)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    mantissas = (1, 2, 5) if math.log10(high / low) < 2 else (1,)
    return [mantissa * 10.0**power for power in powers for mantissa in mantissas]


def steps_between(low: float, high: float) -> list[float]:
    """Three values or more between two that differ, a step of 1, 2 or 5 times a power of ten apart."""
    widest = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(widest))
    # A half as well: the logarithm of what lies just below a power of ten is rounded up to it.
    step = max(mantissa * power for mantissa in (0.5, 1, 2, 5) if mantissa * power <= widest)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def finite(values: Sequence[float | None]) -> list[float]:
    """Those of the values that a logarithmic axis can show."""
    return [value for value in values if value is not None and math.isfinite(value) and value > 0]


def _percentiles(curve: Sequence[Point], limits_ms: dict[float, float]) -> Plot:
    bounds = [bound for point in curve for bound in (point.latency.low, point.latency.high, point.service_ms)]
    shown = finite([*bounds, *(point.latency.value for point in curve), *limits_ms.values()])
    low, high = min(shown) / 1.25, max(shown) * 1.25
    plot = blank("share of arrivals that waited no longer", height=360, y_axis_type="log")
    plot.y_range = Range1d(start=low, end=high)
    source = _curve_columns(curve, high)
    plot.varea("x", "low", "high", source=source, fill_color=colour("pale"))
    plot.line("x", "service", source=source, line_color=colour("grey"), line_width=1.5, line_dash="dashed")
    line = plot.line("x", "value", source=source, line_color=colour("blue"), line_width=2.5)
    tips = [("share", "@share"), ("latency", "@value{0,0.000} ms"), ("95 % interval, ms", "@interval")]
    plot.add_tools(HoverTool(renderers=[line], mode="vline", tooltips=tips))
    legend = [("latency", "blue"), ("its 95 % interval (to the top: not bounded)", "pale"), ("service time, dashed", "grey")]
    if limits_ms:
        places = [nines(share) for share in limits_ms]
        plot.scatter(places, list(limits_ms.values()), marker="inverted_triangle", size=11, color=colour("red"))
        legend.append(("limits of the objective, triangles", "red"))
    ticks = {nines(share): f"{share * 100:g} %" for share in sorted({*PERCENTILES, *limits_ms} - {0.95})}
    plot.xaxis.ticker = FixedTicker(ticks=list(ticks))
    plot.xaxis.major_label_overrides = ticks
    ticks_in_ms(plot.yaxis, low, high)
    return Plot(item(plot), "latency, ms", tuple(legend))


def _curve_columns(curve: Sequence[Point], top: float) -> dict[str, list]:
    """The columns of the curve; an interval that nothing bounds from above reaches to ``top``."""
    bounded = [point.latency.high is not None and math.isfinite(point.latency.high) for point in curve]
    return {
        "x": [nines(point.share) for point in curve],
        "share": [f"{point.share * 100:.6g} %" for point in curve],
        "value": [point.latency.value for point in curve],
        "low": [point.latency.low for point in curve],
        "high": [point.latency.high if kept else top for point, kept in zip(curve, bounded, strict=True)],
        "interval": [
            report.interval({"low": point.latency.low, "high": point.latency.high if kept else None})
            for point, kept in zip(curve, bounded, strict=True)
        ],
        "service": [math.nan if point.service_ms is None else point.service_ms for point in curve],
    }


def _over_time(lines: Sequence[Line], unit: str, log: bool = False, warmup_s: float = 0.0, full: float = 0.0) -> Plot:
    """Lines over time; ``full`` is a value that a linear axis reaches at least."""
    plot = blank(_SECONDS, y_axis_type="log" if log else "linear")
    plot.x_range = Range1d(start=min(line.edges_s[0] for line in lines), end=max(line.edges_s[-1] for line in lines))
    shown = np.concatenate([line.values[np.isfinite(line.values)] for line in lines])
    legend = []
    for number, line in enumerate(lines):
        values = np.where(line.values > 0, line.values, np.nan) if log else line.values
        source = {"x": line.edges_s, "y": np.append(values, values[-1])}
        role = series(number)
        drawn = plot.step("x", "y", source=source, mode="after", line_color=colour(role), line_width=1.8)
        plot.add_tools(HoverTool(renderers=[drawn], tooltips=[(line.name, "@y{0,0.[000]}"), ("from second", "@x{0,0.[0]}")]))
        legend.append((line.name, role))
    if log:
        seen = shown[shown > 0] if np.any(shown > 0) else np.ones(1)
        ticks_in_ms(plot.yaxis, float(seen.min()), float(seen.max()))
    else:
        plot.y_range = Range1d(start=0, end=max(1.05 * float(shown.max(initial=0.0)), full) or 1)
    _shade(plot, warmup_s)
    return Plot(item(plot), unit, tuple(legend))


def _shade(plot: Any, warmup_s: float) -> None:
    if warmup_s:
        plot.add_layout(BoxAnnotation(left=0, right=warmup_s, fill_color=colour("grey"), fill_alpha=0.14, line_color=None))


def _stacked_over_time(lines: Sequence[Line], warmup_s: float) -> Plot:
    plot = blank(_SECONDS)
    plot.x_range = Range1d(start=lines[0].edges_s[0], end=lines[0].edges_s[-1])
    below = np.zeros(len(lines[0].values))
    for number, line in enumerate(lines):
        plot.quad(
            left=line.edges_s[:-1],
            right=line.edges_s[1:],
            bottom=below,
            top=below + line.values,
            fill_color=colour(series(number)),
            line_color=None,
        )
        below = below + line.values
    plot.y_range.start = 0
    _shade(plot, warmup_s)
    return Plot(item(plot), "arrivals not answered", tuple((line.name, series(number)) for number, line in enumerate(lines)))


def _heat(heat: Heat, warmup_s: float) -> Plot:
    low, high = heat.edges_log_ms[0], heat.edges_log_ms[-1]
    plot = blank(_SECONDS, height=320)
    plot.x_range = Range1d(start=heat.edges_s[0], end=heat.edges_s[-1])
    level, bin_of = np.nonzero(heat.counts)
    source = {
        "left": heat.edges_s[bin_of],
        "right": heat.edges_s[bin_of + 1],
        "bottom": heat.edges_log_ms[level],
        "top": heat.edges_log_ms[level + 1],
        "count": heat.counts[level, bin_of],
        "ms": 10 ** heat.edges_log_ms[level],
    }
    mapper = LogColorMapper(palette=_HEAT, low=1, high=max(float(heat.counts.max()), 2.0))
    fill: Any = {"field": "count", "transform": mapper}
    cells = plot.quad("left", "right", "top", "bottom", source=source, fill_color=fill, line_color=None)
    plot.add_tools(
        HoverTool(renderers=[cells], tooltips=[("answers", "@count{0,0}"), ("from", "@ms{0,0.000} ms, second @left{0,0}")])
    )
    ticks_in_ms(plot.yaxis, 10.0**low, 10.0**high, place=math.log10)
    _shade(plot, warmup_s)
    return Plot(item(plot), "latency, ms")


def _bands(bands: Sequence[Band]) -> Plot:
    names = list(dict.fromkeys(part for band in bands for part in band.parts_ms))
    plot = blank("share of the mean latency, %", height=70 + 38 * len(bands))
    places = list(range(len(bands), 0, -1))
    left = np.zeros(len(bands))
    for number, name in enumerate(names):
        parts_ms = np.array([band.parts_ms.get(name, 0.0) for band in bands])
        right = left + 100 * parts_ms / np.array([sum(band.parts_ms.values()) for band in bands])
        source = {"y": places, "left": left, "right": right, "ms": parts_ms, "band": [band.name for band in bands]}
        bars = plot.hbar("y", left="left", right="right", height=0.7, source=source, color=colour(series(number)))
        plot.add_tools(HoverTool(renderers=[bars], tooltips=[("answers", "@band"), (name, "@ms{0,0.000} ms")]))
        left = right
    _name_rows(plot, places, [band.name for band in bands])
    plot.x_range = Range1d(start=0, end=100)
    return Plot(item(plot), "", tuple((name, series(number)) for number, name in enumerate(names)))


def _groups(groups: Sequence[Group]) -> Plot:
    """A row a group: p50 and p90, each with its interval; one that nothing bounds from above goes on to the edge."""
    plot = blank("latency, ms", height=80 + 22 * len(groups), x_axis_type="log")
    places = list(range(len(groups), 0, -1))
    estimates = [group.latency_ms[name] for group in groups for name in _GROUP_MARKS]
    shown = finite([bound for estimate in estimates for bound in (estimate.low, estimate.value, estimate.high)]) or [1.0]
    low, high = min(shown) / 1.15, max(shown) * 1.15
    plot.x_range = Range1d(start=low, end=high)
    for name, role in _GROUP_MARKS.items():
        rows = [(place, group.name, group.latency_ms[name]) for place, group in zip(places, groups, strict=True)]
        source = _marks([row for row in rows if row[2].value is not None and math.isfinite(row[2].value)], high)
        plot.segment("low", "y", "high", "y", source=source, line_color=colour(role), line_width=2, line_alpha=0.6)
        dots = plot.scatter("value", "y", source=source, size=7, color=colour(role))
        plot.add_tools(HoverTool(renderers=[dots], tooltips=[("of", "@name"), (name, "@value{0,0.000} ms")]))
    _name_rows(plot, places, [group.name for group in groups])
    ticks_in_ms(plot.xaxis, low, high)
    return Plot(item(plot), "", tuple((f"{name} with its 95 % interval", role) for name, role in _GROUP_MARKS.items()))


def _marks(rows: Sequence[tuple[int, str, Estimate]], edge: float) -> dict[str, list]:
    return {
        "y": [place for place, _, _ in rows],
        "name": [name for _, name, _ in rows],
        "value": [estimate.value for _, _, estimate in rows],
        "low": [estimate.low for _, _, estimate in rows],
        "high": [min(estimate.high or edge, edge) for _, _, estimate in rows],
    }


def _name_rows(plot: Any, places: Sequence[int], names: Sequence[str]) -> None:
    """Names in place of the numbers of the rows; as plain text, since an intent may look like a formula to Bokeh."""
    plot.y_range = Range1d(start=0.4, end=len(places) + 0.6)
    plot.yaxis.ticker = FixedTicker(ticks=list(places))
    plot.yaxis.major_label_overrides = {
        place: PlainText(text=name if len(name) <= _LABEL_LETTERS else name[: _LABEL_LETTERS - 1] + "…")
        for place, name in zip(places, names, strict=True)
    }
    plot.ygrid.grid_line_color = None
