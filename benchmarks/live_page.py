"""The live page measured: what it costs the master, and what it costs the reader's browser.

    python -m benchmarks.live_page master      CPU of a master at 2,000 requests/s, with and without a page open
    python -m benchmarks.live_page browser     memory of the page after an hour's updates, and its frames while scrolling

The first needs two cores; the second Chromium and Selenium (requirements/dev.in).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.engine import stand_in
from benchmarks.generators import ROOT
from benchmarks.master import free_port
from chatload import timeline

_RATE, _SECONDS = 2_000, 20
_HOUR_S = 3_600


def main() -> None:
    """Measures one of the two and prints a line for each figure."""
    parts = {"master": master, "browser": browser}
    if len(sys.argv) != 2 or sys.argv[1] not in parts:
        sys.exit(f"benchmarks.live_page: name one of {', '.join(parts)}")
    for name, value in parts[sys.argv[1]]().items():
        print(f"{name}: {value}", flush=True)


def master() -> dict[str, str]:
    """CPU shares of a core of a master with one worker."""
    with (
        stand_in("null") as url,
        tempfile.TemporaryDirectory() as folder,
        locust(url, Path(folder) / "run") as (process, page),
    ):
        form = {"user_count": _RATE // 20, "spawn_rate": _RATE, "rate": _RATE, "run_time": f"{4 * _SECONDS}s"}
        urllib.request.urlopen(f"{page}/swarm", urllib.parse.urlencode(form).encode()).read()
        time.sleep(_SECONDS / 2)
        watching = next(child for child in process.children(recursive=True) if "watch" in child.cmdline())
        alone, watch = shares([process, watching])
        over = threading.Event()
        reader = threading.Thread(target=read, args=(page, over))
        reader.start()
        read_too, watch_too = shares([process, watching])
        over.set()
        reader.join()
    return {
        "master without a page": f"{alone:.2%} of a core",
        "master with a page open": f"{read_too:.2%} of a core",
        "chatload watch beside it": f"{watch:.1%} and {watch_too:.1%} of a core",
    }


@contextmanager
def locust(url: str, results: Path) -> Iterator[tuple[psutil.Process, str]]:
    """(master, URL of its web UI) of a master with a worker."""
    port, bind = free_port(), str(free_port())
    common = [sys.executable, "-m", "locust", "-f", "locustfiles/chatbot.py", "--skip-log-setup"]
    keeping = [*common, "--master", "--master-bind-port", bind, "--web-port", str(port), "--host", url]
    started = [
        subprocess.Popen([*keeping, "--stream-rate", "20", "--results", str(results)], cwd=ROOT),
        subprocess.Popen([*common, "--worker", "--master-port", bind], cwd=ROOT),
    ]
    try:
        page = f"http://127.0.0.1:{port}"
        while not workers(page):
            time.sleep(0.2)
        yield psutil.Process(started[0].pid), page
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def workers(page: str) -> int:
    """How many workers the master has; 0 while it does not answer yet."""
    try:
        return json.loads(urllib.request.urlopen(f"{page}/worker-count").read())["worker_count"]
    except urllib.error.URLError:
        return 0


def shares(processes: list[psutil.Process]) -> list[float]:
    """Of a core, over some seconds."""
    before, before_s = [sum(process.cpu_times()[:2]) for process in processes], time.perf_counter()
    time.sleep(_SECONDS)
    seconds = time.perf_counter() - before_s
    return [(sum(process.cpu_times()[:2]) - used) / seconds for process, used in zip(processes, before, strict=True)]


def read(page: str, over: threading.Event) -> None:
    """Asks as an open page does."""
    while not over.wait(1.0):
        urllib.request.urlopen(f"{page}/chatload/data").read()


def browser() -> dict[str, str]:
    """The page in Chromium, with the snapshots of an hour's run, as fast as it takes them."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--enable-precise-memory-info"):
        options.add_argument(argument)
    with served() as page:
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            driver.set_script_timeout(240)
            driver.set_window_size(1280, 900)
            driver.get(page)
            frames_ms = np.array(driver.execute_async_script(_SCROLL))
            driver.execute_async_script(_UPDATES, _HOUR_S)
            driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
            heap = driver.execute_script("return performance.memory.usedJSHeapSize")
            own = [p.memory_full_info().uss for p in tree(driver.service.process.pid) if "--type=renderer" in p.cmdline()]
        finally:
            driver.quit()
    slow = float(np.mean(frames_ms > 1.5 * np.median(frames_ms)))
    return {
        f"page after {_HOUR_S:,} updates": f"JavaScript heap {heap / 1e6:.1f} MB, "
        f"its process {max(own) / 1e6:.0f} MB that it shares with no other",
        "frames while scrolling": f"median {np.median(frames_ms):.1f} ms, p99 {np.percentile(frames_ms, 99):.1f} ms, "
        f"{slow:.1%} dropped, of {len(frames_ms)}",
    }


# Ten seconds of scrolling up and down, with the page's own update every second.
_SCROLL = """
const done = arguments[0], frames = [], began = performance.now();
let last = began;
const step = (now) => {
  frames.push(now - last);
  last = now;
  scrollTo(0, 600 * (1 + Math.sin((now - began) / 500)));
  if (now - began < 10000) requestAnimationFrame(step); else done(frames.slice(2));
};
requestAnimationFrame(step);
"""
# The page waits a second between two updates; here it does not.
_UPDATES = """
const [updates, done] = arguments, real = window.setTimeout;
window.setTimeout = (what, ms) => real(what, ms === 1000 ? 0 : ms);
const seen = () => Number(document.documentElement.dataset.seen);
const until = seen() + updates;
const look = () => seen() >= until ? done() : real(look, 50);
look();
"""


def tree(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@contextmanager
def served() -> Iterator[str]:
    """The URL of the page, on a server that gives it a full snapshot, a second older each time."""
    from flask import Flask
    from werkzeug.serving import make_server

    from chatload import live_page

    class Session:
        at_s = _HOUR_S

        def latest(self) -> bytes:
            self.at_s += 1
            return json.dumps({**snapshot, "now": {"at_s": self.at_s, "in_flight": self.at_s % 50}}).encode()

        def controls(self) -> dict[str, Any]:
            return {"state": "running", "mistake": "", "stream_rate": 1.0, "rate": _RATE}

        search = None

        def start_search(self, wanted: str) -> None:
            raise ValueError("nothing can be searched here")

        def stop_search(self) -> None:
            raise ValueError("no search goes on here")

        def change_rate(self, rate: float) -> None:
            raise ValueError("no run goes on here")

    class WebUi:
        app = Flask(__name__)

        def auth_required_if_enabled(self, view: Any) -> Any:
            return view

    snapshot = full_snapshot()
    live_page.install(WebUi(), Session(), "")
    server = make_server("127.0.0.1", 0, WebUi.app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.port}/chatload"
    finally:
        server.shutdown()
        thread.join()


def full_snapshot() -> dict:
    """A snapshot with as many bins as there can be."""
    draw = np.random.default_rng(1)
    columns = ("offered", "served", "in_flight", *(f"p{share * 100:g}" for share in timeline.SHARES), "lag_p99")
    line = {name: draw.gamma(4, 10, 300).round(2).tolist() for name in columns}
    estimate = {"value": 12.3, "low": 11.0, "high": 14.0}
    names = ("p50", "p90", "p95", "p99", "p99.9", "p99.99", "mean", "max")
    count = _RATE * _HOUR_S
    return {
        "schema": 1,
        "at_s": _HOUR_S,
        "state": "running",
        "run": {
            "id": "hour",
            "scenario": "chatbot",
            "host": "http://127.0.0.1:8080",
            "rate": float(_RATE),
            "arrivals": "poisson",
            "objective": "p99<100ms",
            "warmup_s": 5.0,
            "run_time_s": 2.0 * _HOUR_S,
        },
        "now": {"at_s": _HOUR_S, "in_flight": 12},
        "summary": {
            "planned": count,
            "offered_rate": float(_RATE),
            "throughput": estimate,
            "errors": {"value": 0.0, "low": 0.0, "high": 1e-6},
            "latency_ms": dict.fromkeys(names, estimate),
            "accuracy": {"share": {"value": 0.97, "low": 0.96, "high": 0.98}},
        },
        "verdict": {
            "outcome": "pass",
            "reasons": ["p99<100ms met"],
            "faults": [],
            "objective": [{"clause": "p99<100ms", "answer": "met", "reason": "p99<100ms met: p99 is 12.3 ms"}],
        },
        "judged": {"complete_s": _HOUR_S, "share": 0.125},
        "where": {name: {"mean": 1.0, "p50": 0.9} for name in ("lag", "connect, queue, network", "tokenize", "infer")},
        "health": {"lamp": "good", "why": [], "lag_p99_ms": 0.1, "cpu_share": 0.2, "dropped": 0, "workers": 1, "lost": []},
        "timeline": {"t_s": [12 * (number + 1) for number in range(300)], **line},
        "outcomes": {"ok": count},
        "marks": [{"at_s": 1_800.0, "users": 2_000}],
    }


if __name__ == "__main__":
    main()
