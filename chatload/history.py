"""History: a folder of runs as rows of a table, oldest first, and whether what they measure drifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from chatload.objective import Estimate

METRICS = ("throughput", "p50", "p90", "p99", "errors", "accuracy")
_FEWEST = 6  # of fewer values Kendall's test can hardly find a trend at 1 %: 5 in order have p = 0.017
_CHANCE = 0.01


@dataclass(frozen=True)
class Row:
    """One run in short. ``metrics`` by name: answers per second, milliseconds, shares."""

    name: str
    started: str
    kind: str
    version: str
    rate: float
    offered_rate: float
    metrics: Mapping[str, Estimate]
    outcome: str

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
    kind = f"{run['scenario']}: {model['name']}, {run['arrivals']} {run['rate']:g}/s, {corpus['file']}, {run['objective']}"
    outcome = content["verdict"]["outcome"]
    return Row(name, run["started"], kind, model["version"], run["rate"], summary["offered_rate"], metrics, outcome)


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

    Invalid runs say nothing about the server and are left out; of fewer than six runs nothing is said.
    """
    valid = [each for each in rows if each.outcome != "invalid"]
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
