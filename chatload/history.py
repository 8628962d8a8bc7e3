"""History: a folder of runs as rows of a table, oldest first, and whether what they measure drifts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np

from chatload import conditions, faults, report, table
from chatload.objective import Estimate
from chatload.units import format_share

_LATENCIES = {"p50": 0.50, "p90": 0.90, "p99": 0.99}
METRICS = ("throughput", *_LATENCIES, "errors", "accuracy")
_FEWEST = 6  # of fewer values Kendall's test can hardly find a trend at 1 %: 5 in order have p = 0.017
_CHANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One run in short. ``metrics`` by name: answers per second, milliseconds (infinite: no answer), shares.

    ``conditions`` are those of chatload.conditions, ``place`` what else must be the same where runs are to show a trend;
    ``outcomes`` how many arrivals came to what; ``edited`` says that its rate was changed while it ran, ``overloaded`` that
    all its ``faults`` are the server's, which could not keep up.
    """

    name: str
    started: str
    version: str
    conditions: Mapping[str, str]
    place: Mapping[str, str]
    rate: float
    offered_rate: float
    metrics: Mapping[str, Estimate]
    outcomes: Mapping[str, int]
    outcome: str
    faults: tuple[str, ...] = ()
    edited: bool = False
    overloaded: bool = False

    @property
    def throughput(self) -> Estimate:
        """Answers per second."""
        return self.metrics["throughput"]

    @property
    def kind(self) -> str:
        """What it has in common with the runs that it can be held against, for people."""
        place, alike = self.place, self.conditions
        sessions = "" if alike["sessions"] == "none" else f" of sessions {alike['sessions']}"
        ran = f"{alike['model']}, {alike['arrivals']}{sessions} {alike['rate']}, {alike['corpus']}, {alike['objective']}"
        more = "".join(f", {name} {value}" for name, value in conditions.unusual(alike).items())
        return f"{place['scenario']}: {ran}; {place['host']}, load from {place['machine']}{more}"


def row(name: str, content: Mapping) -> Row:
    """The row of a finished run, from its run.json's content.

    Raises what conditions.of raises where that is not chatload's.
    """
    run, summary, verdict = content["run"], content["summary"], content["verdict"]
    return Row(
        name=name,
        started=run["started"],
        version=run["model"]["version"] if run["model"] else "unknown",
        conditions=conditions.of(run),
        place=_place(run),
        rate=run["rate"],
        offered_rate=summary["offered_rate"],
        metrics=_metrics(summary),
        outcomes=summary["outcomes"],
        outcome=verdict["outcome"],
        faults=faults.of(content),
        edited=bool(run["edits"]),
        overloaded=verdict.get("overloaded", False),
    )


def _metrics(summary: Mapping) -> dict[str, Estimate]:
    return {
        "throughput": Estimate(**summary["throughput"]),
        **{name: report.latency(summary, share) for name, share in _LATENCIES.items()},
        "errors": Estimate(**summary["errors"]),
        "accuracy": Estimate(**summary["accuracy"]["share"]),
    }


def _place(run: Mapping) -> dict[str, str]:
    """The server's host without its port, which may be any that was free, and the machine that generated the load."""
    hardware = run["hardware"]
    cores = hardware.get("cores", "?")
    machine = f"{cores} {'core' if cores == 1 else 'cores'} of {hardware.get('processor', 'an unknown processor')}"
    return {"scenario": run["scenario"], "host": urlsplit(run["host"]).hostname or run["host"], "machine": machine}


def kinds(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows that can be held against each other, those of a kind oldest first: each is alike to the one before it."""
    found: list[list[Row]] = []
    for each in sorted(rows, key=lambda one: (one.started, one.name)):
        kind = next((runs for runs in found if _alike(runs[-1], each)), None)
        if kind is None:
            found.append([each])
        else:
            kind.append(each)
    return found


def _alike(a: Row, b: Row) -> bool:
    return a.place == b.place and not conditions.differences(a.conditions, b.conditions)


@dataclass(frozen=True)
class Drift:
    """How a metric moves from run to run: the median of the first third of the runs, of the last, and the chance of it."""

    metric: str
    rises: bool
    first: float
    last: float
    chance: float


def drifts(rows: Sequence[Row]) -> list[Drift]:
    """The metrics that rise or fall over runs of one kind, oldest first, by Kendall's rank test (p < 1 %).

    Faulty runs say nothing about the server and are left out; of fewer than six runs nothing is said.
    """
    valid = [each for each in rows if not each.faults]
    found = []
    for metric in METRICS:
        values = np.array([each.metrics[metric].value for each in valid if each.metrics[metric].value is not None], float)
        if len(values) < _FEWEST or (values == values[0]).all():
            continue
        from scipy import stats  # most of a second to import, which every command would begin with

        trend = stats.kendalltau(np.arange(len(values)), values)
        if trend.pvalue < _CHANCE:
            third = len(values) // 3
            first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
            found.append(Drift(metric, trend.statistic > 0, first, last, float(trend.pvalue)))
    return found


def text(rows: Sequence[Row]) -> str:
    """The tables that chatload history prints: one for each kind of run, and below it what drifts."""
    return "\n".join(map(_table, kinds(rows)))


def _table(runs: Sequence[Row]) -> str:
    head = [
        "started",
        "run",
        "version",
        "served",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "95 % interval",
        "errors",
        "accuracy",
        "verdict",
    ]
    rows = [head, *[_cells(run) for run in runs]]
    drifting = [f"  {_moved(drift)}" for drift in drifts(runs)]
    return "\n".join([runs[-1].kind, *table.lines(rows, left=(0, 1, 2, 7, 10)), *drifting, ""])


def _cells(run: Row) -> list[str]:
    latencies = [show(name, run.metrics[name].value) for name in ("p50", "p90", "p99")]
    p99 = run.metrics["p99"]
    interval = report.interval({"low": _finite(p99.low), "high": _finite(p99.high)})
    shares = [show(name, run.metrics[name].value) for name in ("errors", "accuracy")]
    started, served = run.started[:16].replace("T", " "), show("throughput", run.throughput.value)
    return [started, run.name, run.version, served, *latencies, interval, *shares, run.outcome]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _moved(drift: Drift) -> str:
    word = "rises" if drift.rises else "falls"
    first, last = show(drift.metric, drift.first), show(drift.metric, drift.last)
    return f"{drift.metric} {word}: {first} at first, {last} of late (Kendall's rank test, p = {drift.chance:.2g})"


def show(metric: str, value: float | None) -> str:
    """A metric's value for people; latencies are in milliseconds."""
    if value is None:
        return "-"
    if metric == "throughput":
        return f"{value:,.4g}/s"
    return format_share(value) if metric in ("errors", "accuracy") else report.number(value)
