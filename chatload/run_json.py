"""Run JSON: the form of a finished run's run.json, as far as reports rely on it. It may hold more."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class DamagedError(ValueError):
    """The content of a run.json that reports cannot be made of; the message says which part and why."""


class _Estimate(msgspec.Struct):
    value: float | None
    low: float | None
    high: float | None


class _Distribution(msgspec.Struct, rename={"p99_9": "p99.9", "p99_99": "p99.99"}):
    p50: _Estimate
    p90: _Estimate
    p95: _Estimate
    p99: _Estimate
    p99_9: _Estimate
    p99_99: _Estimate
    mean: _Estimate
    max: _Estimate


class _Server(msgspec.Struct):
    tokenize: _Distribution
    infer: _Distribution


class _Accuracy(msgspec.Struct):
    checked: int
    correct: int
    share: _Estimate


class _Quantiles(msgspec.Struct):
    p50: _Estimate
    p90: _Estimate
    p99: _Estimate


class _Group(msgspec.Struct):
    count: int
    latency_ms: _Quantiles
    accuracy: _Accuracy
    mistaken_for: str = ""


class _Call(msgspec.Struct):
    count: int
    latency_ms: _Distribution
    outcomes: dict[str, int]
    critical_share: float | None


class _Summary(msgspec.Struct):
    planned: int
    sent: int
    ok: int
    wrong: int
    failed: int
    dropped: int
    unfinished: int
    offered_rate: float
    throughput: _Estimate
    latency_ms: _Distribution
    service_ms: _Distribution
    lag_ms: _Distribution
    server_ms: _Server
    errors: _Estimate
    accuracy: _Accuracy
    outcomes: dict[str, int]
    # Runs of earlier versions have none of these.
    by_turn: dict[str, _Group] = {}
    repeated: _Estimate | None = None
    by_length: dict[str, _Group] | None = None
    by_intent: dict[str, _Group] | None = None
    calls: dict[str, _Call] = {}


class _Corpus(msgspec.Struct):
    file: str
    split: str
    utterances: int
    sha256: str = ""


class _Model(msgspec.Struct):
    name: str
    version: str


class _Conduct(msgspec.Struct):
    expected: float
    departs: bool
    lost: list[str]
    interrupted: str
    aborted: str
    cpu_share: float
    trend: float
    settled_s: float | None


class _Facts(msgspec.Struct):
    worker: int
    cpu: list[tuple[float, float]]
    rates: list[tuple[float, float]]


class _Run(msgspec.Struct):
    scenario: str
    host: str
    rate: float
    arrivals: str
    seed: int
    corpus: _Corpus
    objective: str
    warmup_s: float
    run_time_s: float
    duration_s: float
    workers: int
    model: _Model | None
    conduct: _Conduct
    generators: list[_Facts]


class _Clause(msgspec.Struct):
    clause: str
    answer: Literal["met", "missed", "undecided"]
    reason: str


class _Verdict(msgspec.Struct):
    outcome: Literal["pass", "fail", "invalid"]
    reasons: list[str]
    faults: list[str]
    objective: list[_Clause]
    overloaded: bool = False


class _Finished(msgspec.Struct):
    run: _Run
    summary: _Summary
    verdict: _Verdict


def check(content: Any) -> None:
    """Raises DamagedError where a part that reports need is missing or of another type, as in a run that never ended."""
    try:
        msgspec.convert(content, _Finished)
    except msgspec.ValidationError as error:
        raise DamagedError(str(error)) from error
