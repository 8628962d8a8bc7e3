"""Describe page: what a log looks like, as one HTML file with plots that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import DataRange1d, FixedTicker, HoverTool
from bokeh.models.text import PlainText

from chatload import page, plots
from chatload.description import Description, Traffic, length_bands
from chatload.fitting import Fit

_BARS = 30
_WIDE = 3


def described(found: Description, fit: Fit | None, report: str) -> str:
    """A log's rate, its dispersion beside what was fitted, lengths and intents, with the text ``report`` below."""
    made: dict[str, tuple[str, plots.Plot]] = {}
    if found.traffic:
        made["rate"] = "Arrivals over the log", _rates(found.traffic)
    if fit and fit.candidates:
        made["dispersion"] = "Dispersion of counts, over the window", _dispersions(fit)
    if found.log.words.total:
        bands = {band: share * 100 for band, share in length_bands(found.log.words).items()}
        made["words"] = "Words an utterance", _shares(bands)
    if found.log.intents:
        total = found.log.intents.total()
        intents = {name: count / total * 100 for name, count in found.log.intents.most_common(_BARS)}
        made["intents"] = f"Intents (up to {_BARS})", _shares(intents)
    return page.render(
        "plot_page.html",
        {name: plot for name, (_, plot) in made.items()},
        title="chatload describe",
        headings={name: heading for name, (heading, _) in made.items()},
        caption="",
        text=report,
    )


def _plot(x_label: str) -> Any:
    plot = plots.blank(x_label, height=320)
    plot.y_range = DataRange1d(start=0)
    return plot


def _rates(traffic: Traffic) -> plots.Plot:
    plot = _plot("seconds since the log's first row")
    starts_s = np.arange(len(traffic.rates)) * traffic.step_s
    source = {"left": starts_s, "right": starts_s + traffic.step_s, "top": traffic.rates}
    plot.quad("left", "right", "top", 0, source=source, color=plots.colour("blue"), alpha=0.8)
    plot.add_tools(HoverTool(tooltips=[("from second", "@left{0,0}"), ("per second", "@top{0,0.[000]}")]))
    return plots.Plot(plots.item(plot), "arrivals per second")


def _dispersions(fit: Fit) -> plots.Plot:
    """The log's dispersion by window, and that of what was tried; the profile with the most parts stands for all."""
    tried = {one.process.name.partition(",")[0]: one.means for one in fit.candidates}
    curves = {"the log": fit.candidates[0].measured} | tried
    windows = [name for name in fit.candidates[0].measured if name != "cv"]
    plot, legend = _plot("window"), []
    for number, (name, values) in enumerate(curves.items()):
        source = {"x": list(range(len(windows))), "y": [values[window] for window in windows], "name": [name] * len(windows)}
        role = plots.series(number)
        plot.line("x", "y", source=source, color=plots.colour(role), line_width=1.5 if number else _WIDE)
        plot.scatter("x", "y", source=source, color=plots.colour(role), size=7)
        legend.append((name, role))
    _label(plot, {float(place): window.removeprefix("dispersion ") for place, window in enumerate(windows)})
    plot.add_tools(HoverTool(tooltips=[("of", "@name"), ("variance over mean", "@y{0,0.[000]}")]))
    return plots.Plot(plots.item(plot), "variance over mean", tuple(legend))


def _shares(shares: Mapping[str, float]) -> plots.Plot:
    plot = _plot("")
    source = {"x": list(range(len(shares))), "top": list(shares.values()), "name": list(shares)}
    plot.vbar("x", 0.8, "top", source=source, color=plots.colour("blue"), alpha=0.8)
    _label(plot, {float(place): PlainText(text=name) for place, name in enumerate(shares)})
    plot.xaxis.major_label_orientation = 0.9
    plot.add_tools(HoverTool(tooltips=[("of", "@name"), ("%", "@top{0.[00]}")]))
    return plots.Plot(plots.item(plot), "% of the utterances")


def _label(plot: Any, labels: Mapping[float | str, Any]) -> None:
    plot.xaxis.ticker = FixedTicker(ticks=[float(at) for at in labels])
    plot.xaxis.major_label_overrides = dict(labels)
