"""History: a folder of runs as rows of a table, oldest first, and whether what they measure drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from chatload import faults, table
from chatload.objective import Estimate
from chatload.units import format_ms, format_share

METRICS = ("throughput", "p50", "p90", "p99", "errors", "accuracy")
_FEWEST = 6  # of fewer values Kendall's test can hardly find a trend at 1 %: 5 in order have p = 0.017
_CHANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One run in short. ``metrics`` by name: answers per second, milliseconds, shares; ``faulty`` as faults.of says."""

    name: str
    started: str
    kind: str
    model: str
    version: str
    objective: str
    corpus: str
    rate: float
    offered_rate: float
    metrics: Mapping[str, Estimate]
    outcome: str
    faulty: bool

    @property
    def throughput(self) -> Estimate:
        """Answers per second."""
        return self.metrics["throughput"]


def row(name: str, content: Mapping) -> Row:
    """The row of a finished run, from its run.json's content. Raises KeyError or TypeError where that is not chatload's."""
    run, summary = content["run"], content["summary"]
    latency_ms = {name: Estimate(**summary["latency_ms"][name]) for name in ("p50", "p90", "p99")}
    metrics = {
        "throughput": Estimate(**summary["throughput"]),
        **latency_ms,
        "errors": Estimate(**summary["errors"]),
        "accuracy": Estimate(**summary["accuracy"]["share"]),
    }
    model = run["model"] or {"name": "unknown", "version": "unknown"}
    corpus = run["corpus"]
    offered = f"{run['arrivals']} {run['rate']:g}/s{' ' + run['sessions'] if run.get('sessions') else ''}"
    kind = f"{run['scenario']}: {model['name']}, {offered}, {corpus['file']}, {run['objective']}"
    return Row(
        name=name,
        started=run["started"],
        kind=kind,
        model=model["name"],
        version=model["version"],
        objective=run["objective"],
        corpus=corpus["file"],
        rate=run["rate"],
        offered_rate=summary["offered_rate"],
        metrics=metrics,
        outcome=content["verdict"]["outcome"],
        faulty=bool(faults.of(content)),
    )


def kinds(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows that can be held against each other, by what they have in common; each oldest first."""
    found: dict[str, list[Row]] = {}
    for each in sorted(rows, key=lambda one: (one.started, one.name)):
        found.setdefault(each.kind, []).append(each)
    return found


@dataclass(frozen=True)
class Drift:
    """How a metric moves from run to run: the median of the first third of the runs, of the last, and the chance of it."""

    metric: str
    first: float
    last: float
    chance: float


def drifts(rows: Sequence[Row]) -> list[Drift]:
    """The metrics that rise or fall over runs of one kind, oldest first, by Kendall's rank test (p < 1 %).

    Faulty runs say nothing about the server and are left out; of fewer than six runs nothing is said.
    """
    valid = [each for each in rows if not each.faulty]
    found = []
    for metric in METRICS:
        values = np.array([each.metrics[metric].value for each in valid if each.metrics[metric].value is not None], float)
        if len(values) < _FEWEST or (values == values[0]).all():
            continue
        chance = float(stats.kendalltau(np.arange(len(values)), values).pvalue)
        if chance < _CHANCE:
            third = len(values) // 3
            found.append(Drift(metric, float(np.median(values[:third])), float(np.median(values[-third:])), chance))
    return found


def text(rows: Sequence[Row]) -> str:
    """The tables that chatload history prints: one for each kind of run, and below it what drifts."""
    return "\n".join(_table(kind, runs) for kind, runs in kinds(rows).items())


def _table(kind: str, runs: Sequence[Row]) -> str:
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
    return "\n".join([kind, *table.lines(rows, left=(0, 1, 2, 7, 10)), *drifting, ""])


def _cells(run: Row) -> list[str]:
    latencies = [show(name, run.metrics[name].value) for name in ("p50", "p90", "p99")]
    low, high = run.metrics["p99"].low, run.metrics["p99"].high
    interval = "-" if low is None else f"{format_ms(low)} to {format_ms(high)}" if high else f"{format_ms(low)} or more"
    shares = [show(name, run.metrics[name].value) for name in ("errors", "accuracy")]
    started, served = run.started[:16].replace("T", " "), show("throughput", run.throughput.value)
    return [started, run.name, run.version, served, *latencies, interval, *shares, run.outcome]


def _moved(drift: Drift) -> str:
    word = "rises" if drift.last > drift.first else "falls"
    first, last = show(drift.metric, drift.first), show(drift.metric, drift.last)
    return f"{drift.metric} {word}: {first} at first, {last} of late (Kendall's rank test, p = {drift.chance:.2g})"


def show(metric: str, value: float | None) -> str:
    """A metric's value for people; latencies are in milliseconds."""
    if value is None:
        return "-"
    if metric == "throughput":
        return f"{value:,.4g}/s"
    return format_share(value) if metric in ("errors", "accuracy") else format_ms(value)
