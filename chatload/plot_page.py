"""Plot page: a comparison, or the history of runs, as one HTML file with plots that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.models import FixedTicker, HoverTool, Range1d

from chatload import compare_report, figures, history, page, plots
from chatload.compare import Side
from chatload.figures import Point

_LABELS = 12  # on an axis
_SHARES = (0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)
_DASHES = ("solid", "dashed", "dotted", "dotdash", "dashdot", "solid")  # colours come round again, with the next of these
_METRICS = ("p50", "p90", "p99")


def comparison(sides: Sequence[Side], report: str) -> str:
    """Latency by percentile, side by side, with the text ``report`` below. In-process sides have no curve."""
    curves = [[figures.curve(run.latency_ms) for run in side.runs] for side in sides]
    made = {"curves": _curves(curves)} if any(points for runs in curves for points in runs) else {}
    headings = dict.fromkeys(made, "Latency by percentile")
    return page.render(
        "plot_page.html", made, title="chatload compare", headings=headings, caption="A line a run.", text=report
    )


def trend(rows: Sequence[history.Row]) -> str:
    """p50, p90 and p99 from run to run, one plot for each kind of run, with the table below."""
    kinds = [runs for runs in history.kinds(rows) if any(_shown(run, metric) for run in runs for metric in _METRICS)]
    return page.render(
        "plot_page.html",
        {f"kind{number}": _trend(runs) for number, runs in enumerate(kinds)},
        title="chatload history",
        headings={f"kind{number}": runs[-1].kind for number, runs in enumerate(kinds)},
        caption="Latency with its 95 % interval. Hollow: a run that cannot speak about the server.",
        text=history.text(rows),
    )


def _curves(curves: Sequence[Sequence[Sequence[Point]]]) -> plots.Plot:
    """A side is a list of runs, a run a list of points."""
    plot = plots.blank("share of arrivals that waited no longer", height=420, y_axis_type="log")
    values = plots.finite([point.latency.value for runs in curves for points in runs for point in points])
    low, high = min(values) / 1.25, max(values) * 1.25
    plot.y_range = Range1d(start=low, end=high)
    legend = []
    for number, runs in enumerate(curves):
        name, role = compare_report.LETTERS[number], plots.series(number)
        dash = _DASHES[number // plots.SERIES]
        for points in runs:
            _curve(plot, name, points, line_color=plots.colour(role), line_dash=dash)
        legend.append((name if dash == "solid" else f"{name}, {dash}", role))
    ticks = {figures.nines(share): f"{share * 100:g} %" for share in _SHARES}
    plot.xaxis.ticker = FixedTicker(ticks=list(ticks))
    plot.xaxis.major_label_overrides = ticks
    plots.ticks_in_ms(plot.yaxis, low, high)
    return plots.Plot(plots.item(plot), "latency from the intended time, ms", tuple(legend))


def _curve(plot: Any, name: str, points: Sequence[Point], **style: Any) -> None:
    source = {
        "x": [figures.nines(point.share) for point in points],
        "y": [point.latency.value for point in points],
        "share": [f"{point.share * 100:.6g} %" for point in points],
    }
    line = plot.line("x", "y", source=source, line_width=2, line_alpha=0.85, **style)
    plot.add_tools(HoverTool(renderers=[line], tooltips=[("side", name), ("share", "@share"), ("ms", "@y{0,0.000}")]))


def _shown(run: history.Row, metric: str) -> list[float]:
    return plots.finite([run.metrics[metric].value])


def _trend(runs: Sequence[history.Row]) -> plots.Plot:
    plot = plots.blank("run, oldest first", height=320)
    highest = max(value for run in runs for metric in _METRICS for value in _bounds(run, metric))
    plot.y_range = Range1d(start=0, end=1.05 * highest)
    for number, metric in enumerate(_METRICS):
        found = [(place, run) for place, run in enumerate(runs) if _shown(run, metric)]
        _marks(plot, found, metric, plots.series(number), highest)
    step = max(len(runs) // _LABELS, 1)
    labels: dict[float | str, Any] = {float(place): run.started[:10] for place, run in enumerate(runs) if place % step == 0}
    plot.xaxis.ticker = FixedTicker(ticks=[float(place) for place in labels])
    plot.xaxis.major_label_overrides = labels
    plot.xaxis.major_label_orientation = 0.9
    legend = tuple((metric, plots.series(number)) for number, metric in enumerate(_METRICS))
    return plots.Plot(plots.item(plot), "latency, ms", legend)


def _bounds(run: history.Row, metric: str) -> list[float]:
    return plots.finite([run.metrics[metric].value, run.metrics[metric].high])


def _marks(plot: Any, found: Sequence[tuple[int, history.Row]], metric: str, role: str, edge: float) -> None:
    """A dot a run with its interval; one that nothing bounds from above reaches to ``edge``, an unanswered one is a gap."""
    colour, estimates = plots.colour(role), [run.metrics[metric] for _, run in found]
    source = {
        "x": [place for place, _ in found],
        "y": [estimate.value for estimate in estimates],
        "low": [estimate.low for estimate in estimates],
        "high": [min(estimate.high or edge, 1.05 * edge) for estimate in estimates],
        "run": [run.name for _, run in found],
        "started": [run.started for _, run in found],
        "verdict": [run.outcome for _, run in found],
        "fill": [plots.colour("surface") if run.faults else colour for _, run in found],
    }
    plot.segment("x", "low", "x", "high", source=source, line_color=colour, line_alpha=0.4, line_width=3)
    plot.line("x", "y", source=source, line_color=colour)
    dots = plot.scatter("x", "y", source=source, line_color=colour, fill_color="fill", size=8)
    told = [("run", "@run"), ("started", "@started"), (f"{metric}, ms", "@y{0,0.00}"), ("verdict", "@verdict")]
    plot.add_tools(HoverTool(renderers=[dots], tooltips=told))
