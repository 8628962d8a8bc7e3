"""The live page as its users meet it: in a browser, behind a login, and asked by other sites."""

from __future__ import annotations

import re
import urllib.request
from typing import Any

import flask
import pytest
from prometheus_client import parser

from chatload import cost, live_page, prices
from tests.chatload.browsing import CONTRAST, complaints, size
from tests.chatload.runs import content, free_port, wait_until

SECRET = "a-token-that-nobody-may-see"


class Session:
    """A session without Locust: no run, or the snapshot that it is given."""

    search: dict | None = None

    def __init__(self, snapshot: bytes = b"") -> None:
        self.snapshot = snapshot

    def latest(self) -> bytes:
        return self.snapshot

    def controls(self) -> dict[str, Any]:
        return {"state": "ready", "rate": 5.0}

    def change_rate(self, rate: float) -> None:
        if not self.snapshot:
            raise ValueError("no run goes on; start one")
        self.rate = rate


class Searching(Session):
    """One that can search."""

    def start_search(self, objective: str) -> None:
        self.search = {"state": f"searching {objective}"}

    def stop_search(self) -> None:
        self.search = None


class WebUi:
    """What live_page needs of Locust's web UI."""

    def __init__(self) -> None:
        self.app = flask.Flask("test")

    def auth_required_if_enabled(self, view):
        return view


def client(session: Session) -> Any:
    ui = WebUi()
    live_page.install(ui, session, "")
    return ui.app.test_client()


ROUTES = ("chatload", "chatload/data", "chatload/assets/live_page.js", "chatload/plan", "metrics")


def test_before_the_first_run_there_is_a_page_and_no_snapshot():
    asked = client(Session())
    assert asked.get("/chatload/data").json == {
        "snapshot": None,
        "search": None,
        "settings": {"state": "ready", "rate": 5.0},
    }
    assert asked.get("/metrics").data == b""
    assert b"NO RUN YET" in asked.get("/chatload").data


def test_another_sites_page_is_refused():
    asked = client(Searching())
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "https://evil.example"}):
        assert asked.post("/chatload/search", json={"action": "stop"}, headers=headers).status_code == 403
        for route in ("chatload/data", "metrics", "chatload/plan"):
            assert asked.get(f"/{route}", headers=headers).status_code == 403
    for headers in ({"Sec-Fetch-Site": "same-origin"}, {"Origin": "http://localhost"}, {}):
        assert asked.post("/chatload/search", json={"action": "stop"}, headers=headers).status_code == 200


def test_the_page_runs_no_script_but_its_own():
    for route in ROUTES:
        policy = client(Session()).get(f"/{route}").headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in policy
    text = client(Session()).get("/chatload").data.decode()
    assert re.findall(r"<script(?! src=\"chatload/assets/)", text) == []
    assert re.findall(r"\bon\w+=", text) == []
    assert client(Session()).get("/chatload/assets/live_page.py").status_code == 404


@pytest.mark.parametrize(
    ("asked_for", "status", "said"),
    [
        ({"action": "start", "objective": "p99<1s"}, 200, "start"),
        ({"action": "start", "objective": "p99<fast"}, 400, "'p99<fast': 'fast' is not a duration"),
        ({"action": "start"}, 400, "the objective is empty"),
        ({"action": "jump"}, 400, "action 'jump': start or stop"),
        ([], 400, "action None: start or stop"),
    ],
)
def test_a_search_is_started_by_an_objective(asked_for, status, said):
    session = Searching()
    answer = client(session).post("/chatload/search", json=asked_for)
    assert answer.status_code == status
    assert said in (answer.json.get("error") or answer.json["search"])
    assert (session.search == {"state": "searching p99<1s"}) == (status == 200)


def test_a_rate_is_changed_by_a_number_while_a_run_goes_on():
    session = Session(b"{}")
    assert client(session).post("/chatload/rate", json={"rate": 12.5}).status_code == 200
    assert session.rate == 12.5
    for wrong in ({"rate": 0}, {"rate": None}, {}, []):
        answer = client(session).post("/chatload/rate", json=wrong)
        assert (answer.status_code, "write a number above 0" in answer.json["error"]) == (400, True)
    answer = client(Session()).post("/chatload/rate", json={"rate": 12.5})
    assert (answer.status_code, answer.json) == (400, {"error": "no run goes on; start one"})


def test_planning_says_what_chatload_cost_says():
    asked = client(Session())
    month = {"by": "month", "questions": 5e6, "peak": 3, "capacity": 2.5, "region": "us-east-1", "instance": "inf1.xlarge"}
    found = asked.get("/chatload/plan", query_string=month).json
    hour = prices.read(None).of("us-east-1", "inf1.xlarge")
    bill = cost.monthly(hour, 2.5, 5e6, cost.peaked(3))
    assert (found["instances"], found["dollars"], found["scaled_dollars"]) == (
        bill.instances,
        bill.fixed_dollars,
        bill.scaled_dollars,
    )
    found = asked.get("/chatload/plan", query_string={**month, "by": "rate", "peak_rate": 10.1}).json
    assert found["instances"] == 5
    assert found["dollars"] == pytest.approx(5 * hour * 730)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"capacity": "0"}, "capacity of an instance '0': write a number above 0"),
        ({"questions": "nan"}, "questions a month 'nan'"),
        ({"peak": "13"}, "a peak of 13 times the mean hour"),
        ({"instance": "abacus"}, "no price for 'abacus' in us-east-1"),
    ],
)
def test_what_cannot_be_planned_is_said_in_a_line(wrong, said):
    month = {"by": "month", "questions": 5e6, "peak": 3, "capacity": 2.5, "region": "us-east-1", "instance": "inf1.xlarge"}
    answer = client(Session()).get("/chatload/plan", query_string={**month, **wrong})
    assert answer.status_code == 400
    assert said in answer.json["error"]


# --- with Locust ---------------------------------------------------------------------------------------------------

LOGIN = """
from flask_login import UserMixin
from locust import events
from chatload.locust_adapter import Stream

class Chatbot(Stream):
    pass

@events.init.add_listener
def login(environment, **_):
    environment.web_ui.app.secret_key = "test"
    environment.web_ui.login_manager.user_loader(lambda name: UserMixin())
"""


def reachable(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def fetch(url: str) -> str:
    return urllib.request.urlopen(url).read().decode()


@pytest.fixture
def page_url(stand_in, locust, tmp_path) -> str:
    """Locust's web UI with a stand-in server behind it, whose token is a secret."""
    token = tmp_path / "token-file.txt"
    token.write_text(SECRET)
    port = free_port()
    arguments = ("--rate", "100", "--run-time", "8s", "--warmup", "1s", "--objective", "p99<400ms,errors<5%")
    locust.start("--host", stand_in("null"), "--web-port", str(port), "--token-file", str(token), *arguments)
    wait_until(lambda: reachable(f"http://127.0.0.1:{port}"))
    return f"http://127.0.0.1:{port}"


def test_a_run_from_the_page_to_its_end(browser, page_url, locust):
    size(browser, 1600, "light")
    browser.get(page_url)
    browser.find_element("css selector", "a[href=chatload]").click()
    wait_until(lambda: browser.execute_script("return document.documentElement.dataset.seen") is not None)
    browser.find_element("css selector", "button[value=start]").click()
    wait_until(lambda: "running" in browser.find_element("id", "about").text, 30)
    edit_rate(browser, "150")
    wait_until(lambda: "finished" in browser.find_element("id", "about").text, 60)
    found = content(locust.results)
    assert [users for _, users in found["run"]["edits"]] == [150]
    summary = found["summary"]
    assert key(browser, "offered") == f"{summary['offered_rate']:,.1f}/s"
    assert key(browser, "served") == f"{summary['throughput']['value']:,.1f}/s"
    assert float(key(browser, "p50").removesuffix(" ms")) == pytest.approx(summary["latency_ms"]["p50"]["value"], rel=0.01)
    outcome = browser.execute_script("return document.getElementById('outcome').textContent")
    assert outcome == found["verdict"]["outcome"].upper()
    cells = "return [...document.getElementById('outcomes').rows].map(r => [...r.cells].map(c => c.textContent))"
    rows = browser.execute_script(cells)
    assert {name: int(count.replace(",", "")) for name, count, _ in rows} == summary["outcomes"]
    assert browser.execute_script("return document.querySelectorAll('.chart .bk-Figure, .chart > *').length") >= 4
    for width, scheme in ((390, "dark"), (390, "light"), (1600, "dark"), (1600, "light")):
        size(browser, width, scheme)
        wait_until(lambda: browser.execute_script("return document.documentElement.dataset.drawn") == scheme)  # noqa: B023
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(CONTRAST) == []
    assert complaints(browser) == []
    secrets_stay_secret(page_url)
    same_at_metrics(page_url, summary)


def edit_rate(browser, rate: str) -> None:
    """By keyboard alone."""
    field = browser.find_element("name", "rate")
    field.clear()
    field.send_keys(rate)
    button = browser.find_element("css selector", "button[value=edit]")
    browser.execute_script("arguments[0].focus()", button)
    assert browser.switch_to.active_element == button
    button.send_keys("\n")


def key(browser, name: str) -> str:
    return browser.execute_script(f"return document.querySelector('[data-key=\"{name}\"]').textContent")


def secrets_stay_secret(url: str) -> None:
    for route in ("chatload", "chatload/data", "metrics", "chatload/assets/live_page.js"):
        text = fetch(f"{url}/{route}")
        assert SECRET not in text
        assert "token-file.txt" not in text


def same_at_metrics(url: str, summary: dict) -> None:
    families = parser.text_string_to_metric_families(fetch(f"{url}/metrics"))
    found = {(s.name, s.labels.get("outcome")): s.value for family in families for s in family.samples}
    assert found["chatload_arrivals_total", "ok"] == summary["ok"]


def test_the_page_is_behind_the_login_of_locusts_web_ui(stand_in, locust):
    scenario, port = locust.folder / "login.py", free_port()
    scenario.write_text(LOGIN)
    locust.start("--host", stand_in("null"), "--web-port", str(port), "--web-login", scenario=str(scenario))
    wait_until(lambda: reachable(f"http://127.0.0.1:{port}/login"))
    for route in ROUTES:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/{route}")
        assert answer.geturl().startswith(f"http://127.0.0.1:{port}/login"), route
    answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/chatload/search", b"{}")
    assert answer.geturl().startswith(f"http://127.0.0.1:{port}/login")
