"""Metrics: a snapshot (docs/reference/live.md) in the text format of Prometheus, in its base units: seconds and shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from chatload import statistics

CONTENT_TYPE = CONTENT_TYPE_LATEST
_QUANTILES = {statistics.percentile_name(share): f"{share:g}" for share in statistics.PERCENTILES}
_RECENT = {name: _QUANTILES[name] for name in ("p50", "p90", "p99", "p99.9")}
_OUTCOMES = ("pass", "fail", "invalid", "not decided yet")
_LAMPS = ("good", "warn", "bad")


def exposition(snapshot: Mapping | None) -> bytes:
    """The text of all metrics; before the first run there are none."""
    registry = CollectorRegistry(auto_describe=False)
    if snapshot is not None:
        registry.register(_Once(list(_metrics(snapshot))))
    return generate_latest(registry)


class _Once:
    """What prometheus_client asks of a collector."""

    def __init__(self, found: list[Metric]) -> None:
        self._found = found

    def collect(self) -> Iterable[Metric]:
        return self._found


def _metrics(snapshot: Mapping) -> Iterator[Metric]:
    run = {name: str(snapshot["run"][name]) for name in ("id", "scenario", "host", "arrivals", "objective")}
    yield InfoMetricFamily("chatload_run", "The run that all other metrics speak of.", run)
    yield from _load(snapshot)
    yield from _latencies(snapshot)
    yield from _answers(snapshot["summary"])
    yield from _judged(snapshot)


def _load(snapshot: Mapping) -> Iterator[Metric]:
    line, run, now = snapshot["timeline"], snapshot["run"], snapshot["now"]
    yield _gauge("planned_rate", "Arrivals per second that the run was asked for.", [({}, run["rate"])])
    yield _gauge("offered_rate", "Arrivals per second lately.", [({}, _last(line["offered"]))])
    yield _gauge("served_rate", "Answers per second lately.", [({}, _last(line["served"]))])
    yield _gauge("in_flight", "Requests out now.", [({}, now["in_flight"])])
    yield _gauge("run_seconds", "The generators' clock.", [({}, now["at_s"])])
    yield _gauge("complete_seconds", "Up to which second all arrivals are done.", [({}, snapshot["at_s"])])


def _latencies(snapshot: Mapping) -> Iterator[Metric]:
    summary, line = snapshot["summary"], snapshot["timeline"]
    found = [
        ({"quantile": quantile, "bound": bound}, _seconds(summary["latency_ms"][name][bound]))
        for name, quantile in _QUANTILES.items()
        for bound in ("low", "value", "high")
    ]
    yield _gauge("latency_seconds", "Latency from the intended time over the measured window, and its 95 % interval.", found)
    recent = [({"quantile": quantile}, _seconds(_last(line[name]))) for name, quantile in _RECENT.items()]
    yield _gauge("recent_latency_seconds", "Latency of the last arrivals that carry the percentile.", recent)
    lag = [({"quantile": "0.99"}, _seconds(snapshot["health"]["lag_p99_ms"]))]
    yield _gauge("lag_seconds", "How late the generator sent, over the measured window.", lag)
    parts = [({"part": part}, _seconds(found["mean"])) for part, found in snapshot["where"].items()]
    yield _gauge("mean_seconds", "Where the time of the answers goes: the mean of each part.", parts)


def _answers(summary: Mapping) -> Iterator[Metric]:
    arrivals = CounterMetricFamily("chatload_arrivals", "Arrivals of the measured window by outcome.", labels=["outcome"])
    for outcome, count in summary["outcomes"].items():
        arrivals.add_metric([outcome], count)
    yield arrivals
    yield _gauge("error_ratio", "The share of arrivals that were not answered.", [({}, summary["errors"]["value"])])
    yield _gauge("accuracy_ratio", "The share of right answers.", [({}, summary["accuracy"]["share"]["value"])])


def _judged(snapshot: Mapping) -> Iterator[Metric]:
    verdict, health = snapshot["verdict"], snapshot["health"]
    outcomes = [({"outcome": outcome}, float(outcome == verdict["outcome"])) for outcome in _OUTCOMES]
    yield _gauge("verdict", "1 for the verdict as it stands.", outcomes)
    clauses = [({"clause": found["clause"], "answer": found["answer"]}, 1.0) for found in verdict["objective"]]
    yield _gauge("clause", "1 for the answer to each clause of the objective as it stands.", clauses)
    lamps = [({"lamp": lamp}, float(lamp == health["lamp"])) for lamp in _LAMPS]
    yield _gauge("health", "1 for the lamp of the generator's health.", lamps)
    yield _gauge("generator_cpu_ratio", "Of a core, by the busiest generator process.", [({}, health["cpu_share"])])
    yield _gauge("workers", "Generator processes that report.", [({}, health["workers"])])
    yield _gauge("workers_lost", "Generator processes that went silent.", [({}, len(health["lost"]))])


def _gauge(name: str, help_text: str, found: list[tuple[dict[str, str], Any]]) -> GaugeMetricFamily:
    """A metric of the values that are known."""
    family = GaugeMetricFamily(f"chatload_{name}", help_text, labels=list(found[0][0]) if found else [])
    for labels, value in found:
        if value is not None:
            family.add_metric(list(labels.values()), value)
    return family


def _last(values: list) -> Any:
    return values[-1] if values else None


def _seconds(value_ms: float | None) -> float | None:
    return None if value_ms is None else value_ms / 1e3
