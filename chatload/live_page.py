"""Live page: /chatload in Locust's web UI, what it reads (/chatload/data), and the same figures at /metrics.

The page is live_page.html, .css and .js with BokehJS from its own package. It is behind the login of Locust's web UI where
there is one. Nothing that it serves has a secret in it; what other sites ask for is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request, send_file
from jinja2 import Environment, PackageLoader, StrictUndefined

from chatload import cost, metrics, objective, prices
from chatload.colours import COLOURS

_STYLES = {"live_page.css": "text/css", "page.css": "text/css", "live_page.js": "text/javascript"}
_CHARTS = ("bokeh.min.js", "bokeh-api.min.js")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
_LINK = (
    '<a href="chatload" style="position:fixed;left:12px;bottom:12px;z-index:1200;padding:6px 12px;border-radius:4px;'
    'background:#0067a5;color:#fff;font:14px system-ui,sans-serif">chatload: this run live</a></body>'
)
_MOST_BODY_BYTES = 10_000


class Session(Protocol):
    """What the page needs of the session that keeps the runs."""

    def latest(self) -> bytes:
        """The last snapshot as JSON, or nothing."""

    def controls(self) -> dict[str, Any]:
        """What the page's controls begin with; nothing secret."""

    @property
    def search(self) -> dict | None:
        """How the last search stands, as docs/reference/live.md says; None where there was none."""

    def start_search(self, wanted: str) -> None:
        """Starts a search within an objective. Raises ValueError where it cannot."""

    def stop_search(self) -> None:
        """Ends the search that goes on."""

    def change_rate(self, rate: float) -> None:
        """Goes on at another rate, arrivals per second. Raises ValueError where no run goes on."""


def install(web_ui: Any, session: Session, base: str) -> None:
    """Adds the page to Locust's web UI, whose paths begin with ``base`` (usually empty), and a link to it."""
    pages = _blueprint(session, web_ui.auth_required_if_enabled)
    web_ui.app.register_blueprint(pages, url_prefix=base or None)
    web_ui.app.after_request(_link)


def _link(response: Response) -> Response:
    if request.endpoint == "locust.index" and response.status_code == 200 and response.mimetype == "text/html":
        response.set_data(response.get_data(as_text=True).replace("</body>", _LINK))
    return response


def _blueprint(session: Session, guarded: Callable) -> Blueprint:
    pages = Blueprint("chatload", __name__)
    page = _page()

    @pages.before_request
    def refuse_other_sites() -> None:
        if request.endpoint != "chatload.show" and not _same_site():
            abort(Response("refused: this request comes from another site's page\n", 403, mimetype="text/plain"))

    @pages.after_request
    def harden(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = _POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    @pages.get("/chatload")
    @guarded
    def show() -> Response:
        return Response(page, mimetype="text/html")

    @pages.get("/chatload/assets/<name>")
    @guarded
    def asset(name: str) -> Response:
        return _asset(name)

    @pages.get("/chatload/data")
    @guarded
    def data() -> Response:
        return Response(_data(session), mimetype="application/json")

    @pages.get("/chatload/plan")
    @guarded
    def plan() -> Response:
        try:
            return _json(_plan(request.args))
        except (cost.CostError, _NumberError) as error:
            return _json({"error": str(error)}, 400)

    @pages.post("/chatload/rate")
    @guarded
    def rate() -> Response:
        asked = _asked()
        try:
            session.change_rate(_positive(asked, "rate", "rate"))
        except ValueError as error:
            return _json({"error": str(error)}, 400)
        return _json({"rate": asked["rate"]})

    @pages.post("/chatload/search")
    @guarded
    def search() -> Response:
        return _search(session)

    @pages.get("/metrics")
    @guarded
    def scraped() -> Response:
        latest = session.latest()
        return Response(metrics.exposition(json.loads(latest) if latest else None), content_type=metrics.CONTENT_TYPE)

    return pages


def _same_site() -> bool:
    """Whether a request comes from this server's own pages or from no page at all, as browsers say."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site in ("same-origin", "none")
    return origin is None or urlsplit(origin).netloc == request.host


def _page() -> str:
    environment = Environment(loader=PackageLoader("chatload", "."), autoescape=True, undefined=StrictUndefined)
    listed = prices.read(None)
    offers = {region: sorted(found) for region, found in sorted(listed.dollars.items())}
    return environment.get_template("live_page.html").render(colours=COLOURS, offers=offers)


def _asset(name: str) -> Response:
    if name in _CHARTS:
        found = find_spec("bokeh")
        assert found is not None
        assert found.origin is not None
        return send_file(Path(found.origin).parent / "server" / "static" / "js" / name, "text/javascript", max_age=3600)
    if name not in _STYLES:
        abort(404)
    text = resources.files("chatload").joinpath(name).read_text(encoding="utf-8")
    return Response(text, mimetype=_STYLES[name])


def _data(session: Session) -> bytes:
    """The snapshot goes on as it came: to read it and write it again would take a millisecond of the generator's time."""
    search = json.dumps(session.search).encode()
    return b'{"snapshot":%s,"search":%s,"settings":%s}' % (
        session.latest() or b"null",
        search,
        json.dumps(session.controls()).encode(),
    )


def _json(content: dict, status: int = 200) -> Response:
    return Response(json.dumps(content, allow_nan=False), status, mimetype="application/json")


def _search(session: Session) -> Response:
    asked = _asked()
    try:
        if asked.get("action") == "start":
            objective.parse(str(asked.get("objective", "")))
            session.start_search(str(asked["objective"]))
        elif asked.get("action") == "stop":
            session.stop_search()
        else:
            return _json({"error": f"action {asked.get('action')!r}: start or stop"}, 400)
    except ValueError as error:
        return _json({"error": str(error)}, 400)
    return _json({"search": asked["action"]})


def _asked() -> dict:
    """The JSON object that was posted; an empty one where none was."""
    small = (request.content_length or 0) <= _MOST_BODY_BYTES
    asked = request.get_json(silent=True) if small else None
    return asked if isinstance(asked, dict) else {}


class _NumberError(ValueError):
    """A number from the page that cannot be used."""


def _plan(asked: Any) -> dict[str, Any]:
    """Instances and monthly cost for a month's questions with a peak, or for a peak rate alone. Raises cost.CostError."""
    dollars = prices.read(None).of(asked.get("region", ""), asked.get("instance", ""))
    rate = _positive(asked, "capacity", "capacity of an instance")
    if asked.get("by") == "rate":
        instances, monthly = cost.at_peak(dollars, rate, _positive(asked, "peak_rate", "peak rate"))
        return {"instances": instances, "dollars": monthly, "dollars_per_hour": dollars}
    questions, peak = _positive(asked, "questions", "questions a month"), _positive(asked, "peak", "peak")
    bill = cost.monthly(dollars, rate, questions, cost.peaked(peak))
    return {
        "instances": bill.instances,
        "dollars": bill.fixed_dollars,
        "scaled_dollars": bill.scaled_dollars,
        "utilisation": bill.utilisation,
        "per_million": bill.fixed_dollars / questions * 1e6,
        "dollars_per_hour": dollars,
    }


def _positive(asked: Any, name: str, what: str) -> float:
    try:
        value = float(asked.get(name, ""))
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < 1e15:
        raise _NumberError(f"{what} {asked.get(name, '')!r}: write a number above 0")
    return value
