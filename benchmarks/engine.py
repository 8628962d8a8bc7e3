"""The generator measured: against stand-ins of known latency, and beside its peers, all in one run on one machine.

    python -m benchmarks.engine              everything, about half an hour
    python -m benchmarks.engine lag rate     only these

The generator is pinned to core 0, the server to core 1. Prints a Markdown table. wrk, wrk2 and MLPerf LoadGen take part
where they are found: wrk on the PATH, wrk2 at $WRK2, LoadGen in the Python at $LOADGEN_PYTHON. Every figure is the median of
several rounds, in which the tools take turns, with the smallest and largest in brackets: machines drift.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.generators import (
    GENERATOR_CORE,
    ROOT,
    SERVER_CORE,
    chatload,
    fast_http_user,
    loadgen,
    two_processes,
    wrk,
)
from chatload import samples

ROUNDS = 5
SCALE_LOW = 8_000


@contextlib.contextmanager
def stand_in(*arguments: str, core: str = SERVER_CORE) -> Iterator[str]:
    """A stand-in server on a core of its own; gives its URL."""
    command = ["taskset", "-c", core, sys.executable, "-m", "benchmarks.stand_in", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def busy(core: str) -> Iterator[None]:
    """A process that only spins on a core: a machine as busy as with a second run, which shares nothing with the first."""
    process = subprocess.Popen(["taskset", "-c", core, sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Figure:
    """One row of the table: what was measured, the target, and what came out."""

    name: str
    target: str
    measured: str


def middle(values: list[float], form: str = "{:.3g}") -> str:
    """Median with the smallest and largest in brackets."""
    low, mid, high = (form.format(f(values)) for f in (min, statistics.median, max))
    return f"{mid} ({low} to {high})"


def lag() -> list[Figure]:
    """Lag at 5,000/s against the null server, and what of it the machine would add to anybody's."""
    targets = {"p50": "<= 0.05 ms", "p99": "<= 0.15 ms", "p99.9": "<= 1 ms"}
    found: dict[str, list[dict[str, float]]] = {"": [], ", with --stay-awake yes": []}
    machine: list[dict[str, dict[str, float]]] = []
    with stand_in("null") as url:
        for _ in rounds("lag"):
            for how, runs in found.items():
                summary = chatload(url, 5_000, 20, *(["--stay-awake", "yes"] if how else []))["summary"]
                runs.append({name: summary["lag_ms"][name]["value"] for name in targets})
            machine.append(machine_lag_ms(5_000, 10))
    figures = [
        Figure(f"lag {name} at 5,000/s{how}, ms", target, middle([run[name] for run in runs]))
        for how, runs in found.items()
        for name, target in targets.items()
    ]
    for what in machine[0]:
        measured = "; ".join(middle([one[what][name] for one in machine]) for name in targets)
        figures.append(Figure(f"lag {', '.join(targets)} of a process that {what}, ms", "", measured))
    return figures


def machine_lag_ms(rate: float, seconds: int) -> dict[str, dict[str, float]]:
    """How late the machine makes processes that have nothing to do, on the generator's core (benchmarks/pauses.py)."""
    command = ["taskset", "-c", GENERATOR_CORE, sys.executable, "-m", "benchmarks.pauses", str(rate), str(seconds)]
    return json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)


def latency() -> list[Figure]:
    """Median latency against the null server at 1,000/s, beside wrk2 and MLPerf LoadGen."""
    ours, theirs, scheduled = [], [], []
    with stand_in("null") as url:
        for _ in rounds("latency", 3):
            ours.append(chatload(url, 1_000, 12)["summary"]["latency_ms"]["p50"]["value"])
            if "WRK2" in os.environ:
                theirs.append(wrk(url, 20, 16, 1_000)["p50_ms"])  # it records after 10 s of calibration
            if "LOADGEN_PYTHON" in os.environ:
                scheduled.append(loadgen(url, 1_000, 12)["p50_ms"])
    figures = [Figure("median latency at 1,000/s, null server, ms", "", middle(ours))]
    if theirs:
        figures += [
            Figure("the same, wrk2, ms", "", middle(theirs)),
            Figure("ratio", "<= 0.25", middle([a / b for a, b in zip(ours, theirs, strict=True)])),
        ]
    return figures + ([Figure("the same, MLPerf LoadGen (Python threads), ms", "", middle(scheduled))] if scheduled else [])


def rate() -> list[Figure]:
    """The highest open-loop rate with lag p99 <= 1 ms, beside FastHttpUser's highest closed-loop rate on the same core."""
    ours, theirs, plain = [], [], []
    with stand_in("null") as url:
        for _ in rounds("rate", 3):
            theirs.append(max(per_second(fast_http_user(url, users, 6)) for users in (20, 50, 100)))
            ours.append(highest(lambda offered: keeps_up(chatload(url, offered, 6)["summary"])))
            if shutil.which("wrk"):
                plain.append(wrk(url, 6, 50)["rate"])
    figures = [
        Figure("highest open-loop rate with lag p99 <= 1 ms, /s", "", middle(ours, "{:,.0f}")),
        Figure("FastHttpUser's highest closed-loop rate, /s", "", middle(theirs, "{:,.0f}")),
        Figure("ratio", ">= 2.5, aim 4", middle([a / b for a, b in zip(ours, theirs, strict=True)])),
    ]
    return figures + (
        [Figure("wrk's closed-loop rate (C; the null server's limit), /s", "", middle(plain, "{:,.0f}"))] if plain else []
    )


def per_second(found: dict) -> float:
    return found["requests"] / found["seconds"]


def keeps_up(summary: dict) -> bool:
    """Whether a run at a rate was punctual, complete and served."""
    lag_ms = summary["lag_ms"]["p99"]["value"]
    complete = summary["planned"] == summary["ok"] + summary["wrong"]
    return complete and lag_ms is not None and lag_ms <= 1.0


def highest(holds: Callable[[float], bool], low: float = 10_000, step: float = 1.05) -> float:
    """The highest rate that holds: doubled until one does not, then bisected to 5 %."""
    if not holds(low):
        return math.nan
    high = low * 2
    while holds(high):
        low, high = high, high * 2
    while high / low > step:
        mid = math.sqrt(low * high)
        low, high = (mid, high) if holds(mid) else (low, mid)
    return low


def cpu() -> list[Figure]:
    """CPU time per request at 10,000/s, beside FastHttpUser's.

    Twice: with a null server that sleeps between requests, and with one that spins. Waking a sleeping server is an
    interrupt to the other core, which on a virtual machine costs the sender several microseconds, whoever it is.
    """
    return [*_cpu("which sleeps"), *_cpu("which spins", "--spin")]


def _cpu(which: str, *options: str) -> list[Figure]:
    ours: list[float] = []
    theirs: dict[str, list[float]] = {"": [], ", which looks at each answer as chatload does": []}
    with stand_in("null", *options) as url:
        for _ in rounds(f"cpu, null server {which}", 9):  # one alone is off by a tenth, whichever way the machine goes
            generator = chatload(url, 10_000, 8)["run"]["generators"][0]
            (from_s, used_s), (to_s, used_later_s) = generator["cpu"][1], generator["cpu"][-2]
            looking = generator["spare_s"] / generator["ended_s"]  # the readings leave out what looked at the clock only
            ours.append(((used_later_s - used_s) / (to_s - from_s) + looking) / 10_000 * 1e6)
            for name, values in theirs.items():
                found = fast_http_user(url, 100, 8, each_per_s=100, check=bool(name))
                assert not found["failures"]
                values.append(found["cpu_s"] / found["requests"] * 1e6)
    figures = [Figure(f"CPU per request at 10,000/s, null server {which}, us", "", middle(ours))]
    for name, values in theirs.items():
        figures += [
            Figure(f"the same, FastHttpUser{name}, at up to 10,000/s, us", "", middle(values)),
            Figure("ratio", "<= 0.35", middle([a / b for a, b in zip(ours, values, strict=True)])),
        ]
    return figures


def stall() -> list[Figure]:
    """The stall server: 0.5 s held in every 10 s; theory: p99 400 ms, p99.9 490 ms.

    Sixty seconds hold six stalls and 1,500 arrivals in them: each round has a seed of its own, because the chance of one
    seed's arrivals alone moves p99 by several milliseconds.
    """
    found: dict[str, list[float]] = {"p99": [], "p99.9": []}
    for seed in rounds("stall"):
        with stand_in("stall") as url:
            # Whole periods and no warm-up, so that exactly 5 % of the time is stalled.
            options = ("--warmup", "0s", "--run-time", "60s", "--seed", str(seed + 1))
            summary = chatload(url, 500, 60, *options)["summary"]
        for name, values in found.items():
            values.append(summary["latency_ms"][name]["value"])
    return [
        Figure("stall server, 500/s, 60 s: p99, ms", "400 within 2 %", middle(found["p99"])),
        Figure("stall server, 500/s, 60 s: p99.9, ms", "490 within 2 %", middle(found["p99.9"])),
    ]


def queue() -> list[Figure]:
    """An M/M/1 queue at 70 % load: latency is exponential with mean service / (1 - load).

    Rounds with seeds of their own: of the 95 % intervals of three percentiles one in twenty may miss theory by chance.
    """
    service_s, load = 0.005, 0.7  # the stand-in and the network add 0.2 ms: 2 % of the median
    theory_ms = {
        name: -math.log(1 - share) * service_s / (1 - load) * 1e3
        for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
    }
    values: dict[str, list[float]] = {name: [] for name in theory_ms}
    inside = dict.fromkeys(theory_ms, 0)
    for seed in rounds("queue"):
        with stand_in("mm1", "--service", str(service_s), "--seed", str(seed + 1)) as url:
            summary = chatload(url, load / service_s, 120, "--seed", str(seed + 101))["summary"]
        for name, expected_ms in theory_ms.items():
            estimate = summary["latency_ms"][name]
            values[name].append(estimate["value"])
            inside[name] += estimate["low"] <= expected_ms <= (estimate["high"] or math.inf)
    return [
        Figure(
            f"M/M/1 at 70 % load: {name}, ms",
            f"{expected_ms:.3g} inside the interval",
            f"{middle(values[name])}, inside in {inside[name]} of {ROUNDS}",
        )
        for name, expected_ms in theory_ms.items()
    ]


def scale() -> list[Figure]:
    """Two generator processes on two cores beside one on one; every core carries a null server as well.

    Twice: as two runs side by side, each with the server on its core, and as one run of two workers, a core each, whose
    master takes its share of either, and whose connections go to either server. And one process once more with the other
    core busy, which tells what two processes take from each other from what a busy machine takes from either.
    """
    with stand_in("null", core=GENERATOR_CORE) as first, stand_in("null", core=SERVER_CORE) as second:

        def holds(offered: float) -> bool:
            return mostly(lambda: keeps_up(chatload(first, offered, 6)["summary"]))

        one = highest(holds, low=SCALE_LOW)
        if math.isnan(one):
            return [Figure("one process and its server on one core, /s", "", reached(one, SCALE_LOW))]
        with busy(SERVER_CORE):
            beside_one = highest(holds, low=SCALE_LOW)
        apart = highest(lambda offered: mostly(lambda: side_by_side((first, second), offered)), low=one)
    with shared_stand_ins() as url:
        together = highest(lambda offered: mostly(lambda: keeps_up(two_processes(url, offered, 6)["summary"])), low=one)
    return [
        Figure("one process and its server on one core, /s", "", reached(one, SCALE_LOW)),
        Figure("two runs side by side, each with its server on its core, /s", "", reached(apart, one)),
        Figure("ratio", ">= 1.8", over(apart, one)),
        Figure("one run of two processes, its master on the same two cores, /s", "", reached(together, one)),
        Figure("ratio", ">= 1.8", over(together, one)),
        Figure("one process while the other core only spins, /s", "", reached(beside_one, SCALE_LOW)),
        Figure(
            "two runs, and one run of two processes, over it", "", f"{over(apart, beside_one)}, {over(together, beside_one)}"
        ),
        *twice(1.8 * one),
        *stands_still(),
    ]


def reached(rate: float, low: float) -> str:
    """A highest rate as it is shown; where not even the lowest held, that."""
    return f"below {low:,.0f}, where the search begins" if math.isnan(rate) else f"{rate:,.0f}"


def over(rate: float, other: float) -> str:
    """The ratio of two highest rates as it is shown; a search that found none leaves it unknown."""
    return "not known" if math.isnan(rate / other) else f"{rate / other:.3g}"


def twice(offered: float, trials: int = 5) -> list[Figure]:
    """What one run of two processes makes of a rate, punctual or not."""
    answered: list[float] = []
    lags_ms: dict[str, list[float]] = {"p50": [], "p90": [], "p99": []}
    with shared_stand_ins() as url:
        for _ in range(trials):
            summary = two_processes(url, offered, 6)["summary"]
            answered.append((summary["ok"] + summary["wrong"]) / summary["planned"])
            for name, values in lags_ms.items():
                values.append(summary["lag_ms"][name]["value"])
    name = f"one run of two processes at {offered:,.0f}/s"
    return [
        Figure(f"{name}: share of arrivals answered", "1", middle(answered, "{:.6g}")),
        *(Figure(f"{name}: lag {percentile}, ms", "", middle(values)) for percentile, values in lags_ms.items()),
    ]


def stands_still(trials: int = 5) -> list[Figure]:
    """How late a process is that only reads the clock: what a machine whose other core is busy takes from anybody."""
    late: dict[str, list[dict[str, float]]] = {"idle": [], "busy": []}
    for _ in range(trials):
        for other, found in late.items():
            with busy(SERVER_CORE) if other == "busy" else contextlib.nullcontext():
                found.append(machine_lag_ms(1_000, 5)["only reads the clock"])
    return [
        Figure(
            f"lag p99, p99.9 of a process that only reads the clock, the other core {other}, ms",
            "",
            ", ".join(middle([one[percentile] for one in found]) for percentile in ("p99", "p99.9")),
        )
        for other, found in late.items()
    ]


def mostly(holds: Callable[[], bool], trials: int = 5) -> bool:
    """Whether most of some trials hold: a moment in which something else takes the core spoils one of 6 s."""
    needed, held, failed = trials // 2 + 1, 0, 0
    while held < needed and failed < needed:
        held, failed = (held + 1, failed) if holds() else (held, failed + 1)
    return held == needed


@contextlib.contextmanager
def shared_stand_ins() -> Iterator[str]:
    """Two null servers, one on either core, that share a port; gives their URL."""
    with (
        stand_in("null", "--share", core=GENERATOR_CORE) as url,
        stand_in("null", "--share", "--port", port_of(url), core=SERVER_CORE),
    ):
        yield url


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


def side_by_side(urls: tuple[str, str], offered: float) -> bool:
    """Whether two runs at half a rate each, on a core each, both keep up."""
    with ThreadPoolExecutor(2) as pool:
        runs = pool.map(lambda url, core: chatload(url, offered / 2, 6, core=core), urls, (GENERATOR_CORE, SERVER_CORE))
        return all(keeps_up(run["summary"]) for run in runs)


def machine() -> list[Figure]:
    """What the machine gives a load that shares nothing: wrk and a null server on one core, and a pair on each."""
    if not shutil.which("wrk"):
        return []
    cores, one, two = (GENERATOR_CORE, SERVER_CORE), [], []
    with stand_in("null", core=cores[0]) as first, stand_in("null", core=cores[1]) as second:
        for _ in rounds("machine"):
            one.append(wrk(first, 6, 50, core=cores[0])["rate"])
            with ThreadPoolExecutor(2) as pool:
                pair = pool.map(lambda url, core: wrk(url, 6, 50, core=core)["rate"], (first, second), cores)
                two.append(sum(pair))
    return [
        Figure("wrk and its server on one core, /s", "", middle(one, "{:,.0f}")),
        Figure("two such pairs, one on each core, /s", "", middle(two, "{:,.0f}")),
        Figure("ratio", "", middle([b / a for a, b in zip(one, two, strict=True)])),
    ]


def memory() -> list[Figure]:
    """The generator's memory between 1 and 10 million samples of one run."""
    command = ["taskset", "-c", GENERATOR_CORE, sys.executable, "-m", "locust", "-f", "locustfiles/chatbot.py", "--headless"]
    at: dict[int, float] = {}
    with stand_in("null") as url, tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "run"
        command += [
            "--skip-log-setup",
            "--host",
            url,
            "--rate",
            "25000",
            "--stream-rate",
            "100",
            "--run-time",
            "412s",
            "--results",
            str(results),
        ]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        with tqdm(total=10_000_000, desc="memory", disable=None) as bar:
            while process.poll() is None and 10_000_000 not in at:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                rows = sum(path.stat().st_size for path in results.glob("parts/*.rows")) // samples.ROW.size
                bar.update(rows - bar.n)
                for mark in (1_000_000, 5_000_000, 10_000_000):
                    if rows >= mark and mark not in at:
                        at[mark] = rss_mib(process.pid)
        process.wait()
    said = ", ".join(f"{mark // 1_000_000} M: {value:.1f} MiB" for mark, value in at.items())
    growth = at.get(10_000_000, math.nan) - at.get(1_000_000, math.nan)
    return [Figure("RSS growth from 1 to 10 million samples", "< 50 MB", f"{growth:.1f} MiB ({said})")]


def rss_mib(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else math.nan


def rounds(name: str, count: int = ROUNDS) -> Iterable[int]:
    """Rounds with a progress bar, quiet when not a terminal."""
    return tqdm(range(count), desc=name, disable=None)


PARTS = {part.__name__: part for part in (lag, latency, rate, cpu, scale, machine, stall, queue, memory)}


def main() -> None:
    """Measures what is named on the command line, or everything, and prints the table."""
    chosen = sys.argv[1:] or list(PARTS)
    for name in chosen:
        if name not in PARTS:
            sys.exit(f"benchmarks.engine: no part called {name!r}: choose from {', '.join(PARTS)}")
    if not {int(GENERATOR_CORE), int(SERVER_CORE)} <= os.sched_getaffinity(0):
        sys.exit("benchmarks.engine: needs two cores, one for the generator and one for the server")
    print(f"{date.today()}, {processor()}, Python {platform.python_version()}, median of rounds (smallest to largest)\n")
    print("| figure | target | measured |\n|---|---|---|")
    for name in chosen:
        for figure in PARTS[name]():
            print(f"| {figure.name} | {figure.target} | {figure.measured} |", flush=True)


def processor() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
