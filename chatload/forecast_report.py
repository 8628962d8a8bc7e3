"""Forecast report: a forecast as text for people and as JSON, with what of it was measured, assumed and extrapolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from chatload import table
from chatload.calibration import Calibration
from chatload.forecast import RUNS, Fleet, Forecast, Spread, Traffic, forecastable
from chatload.haste import Haste
from chatload.objective import Clause
from chatload.units import format_duration, format_ms, format_share
from chatload.wander import SCALES_S, Wander

_SLOW = 0.01  # of the time: what decides a p99
_LONG = 0.99  # of all rests in the calibration are shorter than what counts as measured


@dataclass(frozen=True)
class Question:
    """What was asked: of which run, for which traffic to which fleet."""

    name: str
    calibration: Calibration
    traffic: Traffic
    fleet: Fleet
    objective: Sequence[Clause]
    seed: int


def text(question: Question, found: Forecast) -> str:
    """The report that is printed."""
    lines = [*_heading(question), "", *_latency(found), "", *_capacity(question, found), ""]
    lines += [f"  measured      {question.name}", *_indented(_measured(question.calibration))]
    lines += ["  assumed", *_indented(_assumed(question))]
    lines += ["  extrapolated", *_indented(_extrapolated(question, found))]
    return "\n".join(lines) + "\n"


def machine(question: Question, found: Forecast) -> dict:
    """The same for machines; runfolder.plain makes JSON of it."""
    calibration, traffic, fleet = question.calibration, question.traffic, question.fleet
    return {
        "schema": 1,
        "run": question.name,
        "traffic": {"arrivals": traffic.process, "rate": traffic.rate, "count": traffic.count},
        "fleet": {
            "instances": fleet.instances,
            "workers": calibration.workers,
            "routing": fleet.routing,
            "queue": fleet.queue_limit,
            "timeout_s": fleet.timeout_s,
        },
        "objective": ",".join(clause.text for clause in question.objective),
        "simulated_runs": RUNS,
        "seed": question.seed,
        "latency_ms": {name: spread and asdict(spread) for name, spread in found.latency_ms.items()},
        "errors": asdict(found.errors),
        "capacity": found.capacity and asdict(found.capacity),
        "full_load": found.full_load,
        "utilisation": found.utilisation,
        "measured": _measured(calibration),
        "assumed": _assumed(question),
        "extrapolated": _extrapolated(question, found),
    }


def _heading(question: Question) -> list[str]:
    traffic, fleet, workers = question.traffic, question.fleet, question.calibration.workers
    routing = f", {fleet.routing}" if fleet.instances > 1 else ""
    return [
        f"forecast: {traffic.process} arrivals at {traffic.rate:,.4g}/s, {traffic.count:,} in each of {RUNS} simulated runs",
        f"  {_count(fleet.instances, 'instance')} of {_count(workers, 'worker')}{routing}, "
        f"queue of {fleet.queue_limit:,}, timeout {fleet.timeout_s:g} s",
    ]


def _latency(found: Forecast) -> list[str]:
    rows = [["  latency", "ms", "95 % of such runs"]]
    rows += [[f"    {name}", *_cells(spread)] for name, spread in found.latency_ms.items()]
    errors = found.errors
    low, high = format_share(errors.low), format_share(errors.high)
    rows.append(["  no answer", format_share(errors.value), low if low == high else f"{low} to {high}"])
    return table.lines(rows, left=(0, 2), indent="")


def _cells(spread: Spread | None) -> list[str]:
    if spread is None:
        return ["-", "not carried by the calibration or by a run this short"]
    if math.isinf(spread.low):
        return ["no answer", "no answer in any"]
    value = "no answer" if math.isinf(spread.value) else format_ms(spread.value)
    high = "no answer" if math.isinf(spread.high) else format_ms(spread.high)
    return [value, f"{format_ms(spread.low)} to {high}"]


def _capacity(question: Question, found: Forecast) -> list[str]:
    full = f"full load is {found.full_load:,.4g}/s, of which {format_share(found.utilisation)} are offered"
    if found.capacity is None:
        return [f"  capacity  not sought for a trace; {full}"]
    clauses = forecastable(question.objective)
    objective = ",".join(clause.text for clause in clauses)
    skipped = [f"            not forecast: {clause.text}" for clause in question.objective if clause not in clauses]
    if not found.capacity.value:
        return [f"  capacity  {objective} does not hold at any rate; {full}", *skipped]
    return [
        f"  capacity  {objective} holds up to {found.capacity.value:,.4g}/s "
        f"({found.capacity.low:,.4g}/s to {found.capacity.high:,.4g}/s)",
        f"            {full}",
        *skipped,
    ]


def _measured(calibration: Calibration) -> list[str]:
    """What the calibration showed."""
    occupied_ms = calibration.occupied_s * 1e3
    lengths = ", ".join(f"to {letters} {format_ms(median_s * 1e3)}" for letters, median_s in calibration.by_length())
    lines = [
        f"{calibration.rate:,.4g}/s, {_count(calibration.workers, 'worker')} {format_share(calibration.utilisation)} busy; "
        f"{len(occupied_ms):,} requests found a worker idle",
        f"ms in a worker that was idle: mean {format_ms(occupied_ms.mean())}, "
        f"p50 {format_ms(np.quantile(occupied_ms, 0.5))}, p99 {format_ms(np.quantile(occupied_ms, 0.99))}",
        f"its median by the utterance's length in characters: {lengths}",
        f"the machine's pace: {_pace(calibration.wander)}",
        f"a time in a worker by the load of the last moments: {_haste(calibration.haste)}",
    ]
    if calibration.separated:
        by_rest = ", ".join(f"from {rest_ms:.1f} {format_ms(ms)}" for rest_ms, ms in _by_rest_ms(calibration))
        queued_ms = format_ms(calibration.queued_s.mean() * 1e3)
        lines += [
            f"its mean by the ms for which the worker had rested: {by_rest}",
            f"ms of one back to back: mean {queued_ms} ({len(calibration.queued_s):,} requests), "
            f"at full load {format_ms(calibration.busy_s * 1e3)}",
            f"ms of an answer beside the worker: {calibration.pass_s * 1e3:.2f}",
        ]
    return lines


def _pace(found: Wander) -> str:
    if not found.variance:
        return "steady as far as can be told"
    scales = zip(SCALES_S, found.variances, strict=True)
    by_scale = [
        f"{format_share(math.sqrt(variance))} over {format_duration(scale_s)}" for scale_s, variance in scales if variance
    ]
    course = found.course
    slowest = f"; for {format_share(_SLOW)} of the time {course.slowest(_SLOW):.3g} times as slow, or more" if course else ""
    return f"wanders by {', '.join(by_scale)}{slowest}"


def _haste(found: Haste) -> str:
    if not found.error_s:
        return "not told by a steady load"
    tenth = found.most / 10
    change_ms, error_ms = found.slope_s * tenth * 1e3, found.error_s * tenth * 1e3
    if not change_ms:
        return f"the same as far as can be told (standard error {error_ms:.3g} ms for each {tenth:.3g}/s and worker more)"
    of = f"{'less' if change_ms < 0 else 'more'} for each {tenth:.3g}/s and worker more, to {found.most:.3g}"
    return f"{abs(change_ms):.3g} ms {of} (standard error {error_ms:.3g})"


def _by_rest_ms(calibration: Calibration) -> list[tuple[float, float]]:
    occupied_s, group = calibration.occupied_s, calibration.rest_group
    return [
        (float(rest_s) * 1e3, float(occupied_s[group == number].mean()) * 1e3)
        for number, rest_s in enumerate(calibration.rests_s, start=1)
    ]


def _assumed(question: Question) -> list[str]:
    """What no measurement stands behind."""
    lines = [
        f"{_count(question.calibration.workers, 'worker')} an instance, room for {question.fleet.queue_limit:,} to wait",
        "times in a worker depend on its rest, its swing and the load of the last moments, and on a pace that wanders as in "
        "the calibration, each instance's by itself, but not otherwise on the load; no lag of the generator",
        "the calibration's mix of utterances",
    ]
    if not question.calibration.separated:
        lines.append(
            f"all of an answer's time is spent in a worker: only {len(question.calibration.queued_s)} requests "
            "were served back to back, too few to tell"
        )
    return lines


def _extrapolated(question: Question, found: Forecast) -> list[str]:
    """How far the forecast is from what was measured."""
    seen = question.calibration.rate / question.calibration.full_load
    lines = []
    if found.utilisation > seen:
        lines.append(f"from {format_share(seen)} of full load to {format_share(found.utilisation)}")
    if found.capacity is not None and found.capacity.value and found.capacity.value / found.full_load > seen:
        lines.append(f"capacity: to {format_share(found.capacity.value / found.full_load)} of full load")
    rest_s = question.calibration.workers * question.fleet.instances / question.traffic.rate
    longest_s = float(np.quantile(question.calibration.rest_s, _LONG))
    if rest_s > longest_s:
        lines.append(
            f"to workers that rest for about {format_duration(rest_s)} at a time, from at most {longest_s * 1e3:.0f} ms"
        )
    if question.fleet.instances > 1:
        lines.append(f"from one instance to {question.fleet.instances}, all alike, behind a balancer that takes no time")
    return lines or ["nothing: the calibration was as busy"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
