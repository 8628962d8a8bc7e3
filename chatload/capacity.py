"""Capacity: the highest rate within an objective, searched for by probes: runs at one rate each.

Pure: the history of probes in, the next probe or the answer out. From the lowest rate upwards in growing steps until the
objective is missed (bracketing); then at the rate at which the latency curve through all probes meets the limit, or in the
middle of the bracket where there is no such curve (an objective missed by errors, or at a cliff); at last once more at the
answer. docs/decisions/0407 says why, and how near the truth it comes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chatload import duration, latency_curve, verdict
from chatload.latency_curve import Crossing, Point
from chatload.objective import LATENCIES, MET, MISSED, Clause, Estimate
from chatload.units import format_share
from chatload.verdict import FAIL, INVALID, PASS

UNDECIDED = "undecided"
BRACKET, NARROW, CONFIRM = "bracket", "narrow", "confirm"
FOUND, NONE = "found", "none"

_STEEPEST, _LEAST = 4.0, 1.5  # upwards, from rate to rate
_BEYOND = 1.05  # what the curve points to, so that the limit is passed
_SHOWN = 0.25  # what the curve shows less sharply than this, it does not show
_WORTH_TELLING = 0.15  # a wider interval is no answer
_UNLIKELY, _CLOSE = 2.0, 1.25  # so many times as slow, at so many times the rate at the most: that looks like a bad minute
_ABORT_S = 5.0
_SPARE = 1.1  # a Poisson count may fall short of its mean


class CapacityError(ValueError):
    """An objective without a limit that a higher rate could meet; the message says what to write."""


@dataclass(frozen=True)
class Probe:
    """What a run at ``rate`` (/s) showed: PASS, FAIL, UNDECIDED, or INVALID for a fault of the generator.

    ``latency_ms`` holds the objective's latencies by subject, ``missed`` the subjects that were missed beyond doubt, ``why``
    the first reason of its verdict. ``throughput`` is in answers per second, ``seconds`` are those measured.
    """

    rate: float
    answer: str
    purpose: str
    latency_ms: Mapping[str, Estimate]
    samples: int
    seconds: float
    throughput: Estimate
    offered: float
    missed: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Plan:
    """What is sought: the clauses of the objective, from ``lowest_rate`` (/s) on, in probes of ``probe_s`` measured seconds.

    The search ends when its interval is within ``precision`` of the rate, or with ``most_probes``.
    """

    clauses: tuple[Clause, ...]
    lowest_rate: float
    probe_s: float
    most_probes: int = 12
    precision: float = 0.03


@dataclass(frozen=True)
class Step:
    """The next probe: its rate (/s), how many seconds it may measure, and what for."""

    rate: float
    most_s: float
    purpose: str


@dataclass(frozen=True)
class End:
    """The end of a search: FOUND with ``answer``, NONE (there is no such rate) or UNDECIDED; ``reason`` is for people."""

    outcome: str
    reason: str
    answer: Crossing | None = field(default=None)


def latency_clauses(clauses: Sequence[Clause]) -> tuple[Clause, ...]:
    """The clauses about latency. Raises CapacityError when there is none, since nothing else bounds a rate."""
    found = tuple(clause for clause in clauses if clause.subject in LATENCIES)
    if not found:
        raise CapacityError(
            "the objective has no latency, so no rate is too high for it: write for example p99<100ms,errors<0.1%"
        )
    return found


def probe(content: Mapping, step: Step, clauses: Sequence[Clause]) -> Probe:
    """What a finished run (the content of its run.json) showed as the probe ``step``."""
    run, summary, judged = content["run"], content["summary"], content["verdict"]
    answers = {clause.subject: said["answer"] for clause, said in zip(clauses, judged["objective"], strict=True)}
    missed = tuple(subject for subject, answer in answers.items() if answer == MISSED)
    wanted = {clause.subject: clause.limit for clause in latency_clauses(clauses)}
    return Probe(
        rate=step.rate,
        answer=_answer(verdict.faults_of_a_probe(content, min(wanted.values())), answers, judged),
        purpose=step.purpose,
        latency_ms={name: _estimate(summary["latency_ms"][name], name in missed) for name in wanted},
        samples=summary["planned"],
        seconds=run["duration_s"],
        throughput=Estimate(**summary["throughput"]),
        offered=summary["offered_rate"],
        missed=missed,
        why=judged["reasons"][0],
    )


def _answer(faults: Sequence[str], answers: Mapping[str, str], judged: Mapping) -> str:
    if faults:
        return INVALID
    if MISSED in answers.values():  # steady or not: a server that cannot keep up misses the more, the longer it lasts
        return FAIL
    return PASS if _is_steady(judged) and all(answer == MET for answer in answers.values()) else UNDECIDED


def _is_steady(judged: Mapping) -> bool:
    return all(fault.startswith(verdict.LATE) for fault in judged["faults"])


def _estimate(read: Mapping, missed: bool) -> Estimate:
    """From run.json's form, in which what is infinite is null."""
    if read["low"] is None:
        return Estimate(math.inf, math.inf, math.inf) if missed else Estimate(None, None, None)
    value, high = (math.inf if read[end] is None else read[end] for end in ("value", "high"))
    return Estimate(value, read["low"], high)


def abort_rule(clauses: Sequence[Clause]) -> str:
    """What ends a probe that is beyond hope (as --abort-when has it): half of the answers took twice the strictest limit."""
    limit_ms = max(2 * min(clause.limit for clause in latency_clauses(clauses)), 1.0)
    return f"p50>{limit_ms:g}ms,errors>50% for {_ABORT_S:g}s"


def looks_s(step: Step) -> list[float]:
    """After how many measured seconds to ask whether a probe is decided; who always asks finds it decided by chance."""
    return [share * step.most_s for share in (1 / 8, 1 / 4, 1 / 2)]


def is_decided(judged: Mapping, clauses: Sequence[Clause]) -> bool:
    """Whether a verdict so far (a snapshot's) says what a longer probe would say: missed, or every latency met.

    Errors that are rare take more samples to be proved rare than most probes have; only the last one has to.
    """
    answers = {clause.subject: said["answer"] for clause, said in zip(clauses, judged["objective"], strict=True)}
    latencies = [answers[clause.subject] for clause in latency_clauses(clauses)]
    return MISSED in answers.values() or (all(answer == MET for answer in latencies) and _is_steady(judged))


def decide(probes: Sequence[Probe], plan: Plan) -> Step | End:
    """The next probe, or the end of the search."""
    if not probes:
        return _step(plan.lowest_rate, BRACKET, plan)
    if end := _no_capacity(probes):
        return end
    best = estimate(probes, plan)
    enough = best is not None and best.precision <= plan.precision
    if best is not None and enough and _is_confirmed(probes, best, plan):
        return End(FOUND, f"confirmed at {probes[-1].rate:,.4g}/s", best)
    left = plan.most_probes - len(probes)
    if left <= 0:
        return _out_of_probes(probes, best, plan)
    low, high = bracket(probes, plan)
    doubtful = _is_doubtful(low, high, probes, plan)
    if best is not None and (left == 1 or (enough and not doubtful)):
        return _step(best.rate, CONFIRM, plan)
    if high is None:
        return _step(_upwards(probes, plan), BRACKET, plan)
    if doubtful:
        return _step(high, NARROW, plan)
    return _step(_between(low, high, best, probes), NARROW, plan)


def estimate(probes: Sequence[Probe], plan: Plan) -> Crossing | None:
    """The capacity with its interval, as far as the probes show it; None before it is bracketed."""
    low, high = bracket(probes, plan)
    if low is None or high is None:
        return None
    standing = _standing(probes, plan)
    found = [latency_curve.crossing(curve(standing, clause), clause.limit) for clause in latency_clauses(plan.clauses)]
    lowest = min((one for one in found if one is not None), key=lambda one: one.rate, default=None)
    cliff = min((probe.rate for probe in probes if _is_cliff(probe)), default=math.inf)
    shown = lowest is not None and lowest.rate < cliff and lowest.precision <= _SHOWN
    return lowest if shown else Crossing(low, low, high)


def _is_cliff(probe: Probe) -> bool:
    """Whether the objective was missed otherwise than by a latency that grows: by failures, or another clause."""
    return any(subject not in probe.latency_ms or probe.latency_ms[subject].value == math.inf for subject in probe.missed)


def curve(probes: Sequence[Probe], clause: Clause) -> list[Point]:
    """What the probes showed of a clause's latency, by rate."""
    points = [Point(probe.rate, probe.latency_ms[clause.subject], probe.samples) for probe in probes if probe.samples]
    return sorted(points, key=lambda point: point.rate)


def bracket(probes: Sequence[Probe], plan: Plan) -> tuple[float | None, float | None]:
    """(highest rate that was within the objective below the lowest that was not, that lowest one); None where there is none.

    A probe that was not decided counts by its value.
    """
    misses = {probe.rate for probe in _standing(probes, plan) if not _within(probe, plan)}
    high = min(misses, default=None)
    low = max((probe.rate for probe in probes if high is None or probe.rate < high), default=None)
    return low, high


def _standing(probes: Sequence[Probe], plan: Plan) -> list[Probe]:
    """The probes without those over the objective, not decided, that others at the same rate say were a bad minute's."""
    return [probe for probe in probes if not _is_disowned(probe, probes, plan)]


def _is_disowned(probe: Probe, probes: Sequence[Probe], plan: Plan) -> bool:
    """Whether at least half of the probes at its rate were within the objective, and much faster: most say what is usual."""
    at_rate = [one for one in probes if one.rate == probe.rate]
    faster = [one for one in at_rate if _within(one, plan) and _is_unlikely(probe, one, plan)]
    return 2 * len(faster) >= len(at_rate)


def _is_doubtful(low: float | None, high: float | None, probes: Sequence[Probe], plan: Plan) -> bool:
    """Whether a narrow bracket hangs on one unlikely probe that was not decided: a bad minute looks like a limit too."""
    if low is None or high is None or high / low > _CLOSE:
        return False
    at_high = [probe for probe in probes if probe.rate == high]
    return len(at_high) == 1 and all(_is_unlikely(at_high[0], probe, plan) for probe in probes if probe.rate == low)


def _is_unlikely(probe: Probe, other: Probe, plan: Plan) -> bool:
    """Whether a probe that was not decided was over the objective, and much slower than another at hardly less load."""
    if probe.answer != UNDECIDED or _within(probe, plan):
        return False
    subjects = [clause.subject for clause in latency_clauses(plan.clauses)]
    pairs = [(probe.latency_ms[subject].value, other.latency_ms[subject].value) for subject in subjects]
    return any(slow is not None and fast is not None and slow > _UNLIKELY * fast for slow, fast in pairs)


def _within(probe: Probe, plan: Plan) -> bool:
    if probe.answer in (PASS, FAIL):
        return probe.answer == PASS
    values = [(probe.latency_ms[clause.subject].value, clause.limit) for clause in latency_clauses(plan.clauses)]
    return all(value is not None and value < limit for value, limit in values)


def _no_capacity(probes: Sequence[Probe]) -> End | None:
    first, last = probes[0], probes[-1]
    if last.answer == INVALID:
        return End(UNDECIDED, f"at {last.rate:,.4g}/s the generator was the limit, not the server: {last.why}")
    if first.answer == FAIL:
        return End(NONE, f"the objective is missed at the lowest rate, {first.rate:,.4g}/s: {first.why}")
    if any(estimated.value is None for estimated in first.latency_ms.values()):
        return End(UNDECIDED, f"at the lowest rate, {first.rate:,.4g}/s, too few samples came to judge by: {first.why}")
    return None


def _is_confirmed(probes: Sequence[Probe], best: Crossing, plan: Plan) -> bool:
    """Whether the last probe was at the answer, which was not missed there beyond doubt, and speaks for what is usual."""
    last = probes[-1]
    if last.purpose != CONFIRM or last.answer == FAIL or _is_disowned(last, probes, plan):
        return False
    return abs(last.rate / best.rate - 1) <= plan.precision


def _out_of_probes(probes: Sequence[Probe], best: Crossing | None, plan: Plan) -> End:
    if best is None or best.precision > _WORTH_TELLING:
        return End(UNDECIDED, f"{plan.most_probes} probes did not decide it: give them more time (--probe-time)")
    near = f"as near as {plan.most_probes} probes come: {_nearer(best, plan)} (--probe-time)"
    return End(FOUND, f"{_unconfirmed(probes[-1])}{near}", best)


def _unconfirmed(last: Probe) -> str:
    """What to say of a last probe, at the answer, that missed the objective: the answer rests on the curve alone."""
    missed = last.purpose == CONFIRM and last.answer == FAIL
    return f"not confirmed, the last probe missed it at {last.rate:,.4g}/s; " if missed else ""


def _nearer(best: Crossing, plan: Plan) -> str:
    """What a longer search would take, roughly: an interval narrows with the root of its samples."""
    if best.precision <= plan.precision:
        return "longer ones come nearer"
    longer_s = plan.probe_s * (best.precision / plan.precision) ** 2
    return f"for {format_share(plan.precision)} they need some {math.ceil(longer_s / 10) * 10} s each"


def _upwards(probes: Sequence[Probe], plan: Plan) -> float:
    """The next rate above all so far: a little beyond where the last two point to, never in too large a step."""
    last, clauses = probes[-1], latency_clauses(plan.clauses)
    standing = _standing(probes, plan)
    pointed = min(_pointed_at(curve(standing, clause), clause.limit) for clause in clauses)
    near = any((last.latency_ms[clause.subject].value or 0) > clause.limit / 4 for clause in clauses)
    least = _BEYOND if near else _LEAST
    most = _STEEPEST if len(standing) == len(probes) else _LEAST
    return min(max(_BEYOND * pointed, least * last.rate), most * last.rate)


def _pointed_at(points: Sequence[Point], limit_ms: float) -> float:
    """Where the straight line through the last two reciprocals meets the limit's; infinite where it does not."""
    if len(points) < 2:
        return math.inf
    before, last = (1 / (point.latency_ms.value or math.inf) for point in points[-2:])
    if before <= last:
        return math.inf
    return points[-1].rate + (last - 1 / limit_ms) * (points[-1].rate - points[-2].rate) / (before - last)


def _between(low: float | None, high: float, best: Crossing | None, probes: Sequence[Probe]) -> float:
    if low is None:
        return high / _LEAST
    if best is None or best.rate == low:
        return math.sqrt(low * high)
    rates = [probe.rate for probe in probes]
    return min(max(best.rate, min(rates)), max(rates))


def _step(rate: float, purpose: str, plan: Plan) -> Step:
    """A probe at ``rate``, long enough for what its latencies need at the least; the last one for all clauses."""
    clauses = plan.clauses if purpose == CONFIRM else latency_clauses(plan.clauses)
    needs = [duration.needed(clause, rate) for clause in clauses]
    least_s = max((count for count in needs if count is not None), default=0) * _SPARE / rate
    return Step(rate, max(plan.probe_s, least_s), purpose)
