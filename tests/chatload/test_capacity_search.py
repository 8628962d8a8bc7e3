"""Capacity searches: real Locust processes against stand-in servers."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from chatload import capacity_report, queueing
from tests.chatload.browsing import complaints, size
from tests.chatload.runs import content, free_port, rows_of, wait_until

SCENARIO = "locustfiles/capacity.py"
# A run's limit on lag is a tenth of its latency: with these servers one that a machine keeps which is busy with other tests.
DISTANT = ("null", "--delay", "0.3")
DISTANT_QUEUE = ("md1", "--service", "0.02", "--delay", "0.2")
SHORT = ("--headless", "--warmup", "500ms", "--probe-time", "3s", "--precision", "40%", "--rate", "20")


def found_in(folder: Path) -> dict:
    return json.loads((folder / "capacity.json").read_text())


@pytest.mark.parametrize("count", [1, 2])
def test_a_search_finds_the_capacity_of_a_server_roughly(stand_in, locust, count):
    """M/D/1 of 20 ms, and 200 ms beside it: p90 passes 350 ms at 42/s of 50/s. Short probes say no more than roughly."""
    assert queueing.md1_latency_percentile_s(42, 0.02, 0.9) == pytest.approx(0.15, rel=0.05)
    host, port = stand_in(*DISTANT_QUEUE), str(free_port())
    processes = ("--processes", "2", "--master-bind-port", port, "--master-port", port) if count == 2 else ()
    done = locust.run(
        *SHORT, "--host", host, "--objective", "p90<350ms,errors<5%", *processes, scenario=SCENARIO, timeout_s=150
    )
    found = found_in(locust.results)
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == {"found": 0, "none": 1, "undecided": 2}[found["state"]]
    assert found["state"] == "found", (found["reason"], done.stderr)
    assert 42 * 0.6 < found["answer"]["rate"] < 42 * 1.5
    runs = [content(locust.results / probe["folder"]) for probe in found["probes"]]
    assert [run["run"]["rate"] for run in runs] == pytest.approx([probe["rate"] for probe in found["probes"]])
    assert [run["run"]["seed"] for run in runs] == list(range(1, len(runs) + 1))
    assert {run["run"]["workers"] for run in runs} == {count}
    assert not any(run["run"]["edits"] for run in runs)
    assert all(run["summary"]["unfinished"] == 0 for run in runs)
    assert found["probes"][-1]["purpose"] == "confirm"
    assert done.stdout.count("capacity: probe") == len(runs)
    assert capacity_report.text(found, str(locust.results)) in done.stdout
    assert "Bokeh" in (locust.results / "report.html").read_text()


def test_an_interrupted_search_keeps_its_probes(stand_in, locust):
    process = locust.start(*SHORT, "--host", stand_in(*DISTANT), "--objective", "p99<900ms", scenario=SCENARIO)
    wait_until(lambda: (locust.results / "probe-02" / "parts").exists() and rows_of(locust.results / "probe-02") > 20, 40)
    os.kill(process.pid, signal.SIGINT)
    done = locust.wait(process)
    found = found_in(locust.results)
    assert done.returncode == 2
    assert "Traceback" not in done.stdout + done.stderr
    assert found["reason"] == "interrupted after 1 probes: the process was told to stop"
    assert [probe["folder"] for probe in found["probes"]] == ["probe-01", "probe-02"]
    assert content(locust.results / "probe-02")["verdict"]["reasons"][0].startswith("interrupted: ")
    assert "NOT DECIDED" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--objective", "errors<1%"), "the objective has no latency"),
        (("--run-time", "60s"), "--run-time is not for a capacity search"),
        (("--instance", "c99.huge"), "no price for 'c99.huge'"),
        (("--precision", "0%"), "--precision 0%: nothing is known to the last digit"),
        (("--probe-time", "0s"), "--probe-time 0: give a probe some time"),
        (("--arrivals", "onoff:peak=5,on=1s,off=5s"), "cannot follow a load shape"),
    ],
)
def test_a_mistake_is_refused_before_the_first_request(stand_in, locust, arguments, message):
    done = locust.run("--headless", "--host", stand_in("null"), *arguments, scenario=SCENARIO)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not locust.results.exists()


FROM_THE_PAGE = """
import gevent
from locust import events
from chatload.locust_adapter import Stream

class Calm(Stream):
    corpus = "corpus/support.tsv"
    warmup = "500ms"
    probe_time = "3s"

@events.init.add_listener
def ask(environment, **_):
    page = environment.chatload_part.page

    def ask_and_stop():
        page.start_search("p90<900ms,errors<5%")
        while not (page.search or {"probes": []})["probes"]:
            gevent.sleep(0.1)
        page.stop_search()

    gevent.spawn_later(2, ask_and_stop)
"""


def test_a_search_can_be_asked_for_and_stopped_from_within_the_web_ui(stand_in, locust):
    scenario = locust.folder / "calm.py"
    scenario.write_text(FROM_THE_PAGE)
    port = ("--web-port", str(free_port()))
    process = locust.start("--host", stand_in(*DISTANT), "--rate", "50", *port, scenario=str(scenario))
    wait_until(lambda: (locust.results / "report.html").exists(), 40)
    process.send_signal(signal.SIGTERM)
    done = locust.wait(process)
    assert "Traceback" not in done.stdout + done.stderr
    found = found_in(locust.results)
    assert found["reason"].startswith("interrupted after 1 probes")
    assert found["objective"] == "p90<900ms,errors<5%"
    assert found["probes"][0]["rate"] == 50


ROWS = "return [...document.getElementById('probes').rows].map(r => [...r.cells].map(c => c.textContent))"


def test_a_search_from_the_page_to_its_end(stand_in, locust, browser):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = locust.start("--host", stand_in(*DISTANT_QUEUE), "--web-port", str(port), *SHORT[1:])
    wait_until(lambda: _answers(url))
    browser.get("about:blank")  # a page of another test may still ask its server, which has gone
    complaints(browser)
    size(browser, 1280, "light")
    browser.get(f"{url}/chatload")
    wait_until(lambda: browser.execute_script("return document.documentElement.dataset.seen") is not None)
    field = browser.find_element("name", "objective")
    field.clear()
    field.send_keys("p90<350ms,errors<5%")
    browser.find_element("css selector", "button[value=search]").click()
    wait_until(lambda: browser.execute_script(ROWS), 60)
    wait_until(lambda: browser.find_element("id", "search-state").text.startswith("found: "), 120)
    found = found_in(locust.results)
    assert browser.find_element("id", "search-state").text.startswith(f"found: {found['answer']['rate']:,.1f}/s")
    shown = browser.execute_script(ROWS)
    assert [(float(row[0].replace(",", "")), row[3]) for row in shown] == [
        (pytest.approx(probe["rate"], abs=0.05), probe["answer"]) for probe in found["probes"]
    ]
    assert browser.execute_script("return document.getElementById('chart-search').children.length") > 0
    assert complaints(browser) == []
    process.send_signal(signal.SIGTERM)
    assert "Traceback" not in locust.wait(process).stderr


def _answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False
