"""Page: one HTML file with plots that needs nothing else, no network and no file beside it, light or dark as its reader is.

page_frame.html (a Jinja template that escapes whatever it is given), page.css and page.js, with Bokeh's script and the plots
put inside. The templates that fill it are report_page.html and plot_page.html.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from bokeh.resources import Resources
from jinja2 import Environment, PackageLoader, StrictUndefined

from chatload import plots
from chatload.colours import COLOURS


def render(
    template: str, made: Mapping[str, plots.Plot], filters: Mapping[str, Callable] | None = None, **values: Any
) -> str:
    """The page that ``template`` makes of the plots and ``values``."""
    environment = Environment(
        loader=PackageLoader("chatload", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Bokeh reads an object before the references to it: its JSON must keep its order.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "separators": (",", ":")}
    environment.filters |= filters or {}
    return environment.get_template(template).render(
        plots=made,
        colours=COLOURS,
        styles=_text("page.css"),
        script=_text("page.js"),
        charts="\n".join(Resources(mode="inline", components=["bokeh"], log_level="warn").js_raw),
        **values,
    )


def _text(name: str) -> str:
    return resources.files("chatload").joinpath(name).read_text(encoding="utf-8")
