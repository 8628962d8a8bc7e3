"""Verdict: pass, fail or invalid, with reasons.

A run whose generator was late, starved or cut short says nothing about the server: it is invalid, never failed. A run
that is valid but too short for its objective is invalid too, and says how much longer it must be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatload import duration
from chatload.objective import LATENCIES, MISSED, UNDECIDED, Clause, Estimate
from chatload.units import format_duration, format_ms, format_share

PASS, FAIL, INVALID = "pass", "fail", "invalid"
EXIT_CODES = {PASS: 0, FAIL: 1, INVALID: 2}

_LAG_SHARE = 0.10
_LAG_FLOOR_MS = 1.0
LATE = "the generator was late"
CPU_SHARE = 0.90
_TREND = 1.5
_CUT_SHORT = "the run was cut short before it missed its objective beyond doubt; run it again with a later --abort-when"
_POISSON_BOUND = 3.29  # standard deviations: 99.9 % of Poisson counts lie within


@dataclass(frozen=True)
class Conduct:
    """How a run went, beside its samples.

    ``expected`` is the number of arrivals that the plan foresaw for the measured window (the integral of the planned
    rate), ``poisson`` whether chance may move that number, ``departs`` whether the arrivals were not those of the planned
    process. ``lost`` names generator processes whose final report never came, with the last moment they spoke of.
    ``interrupted`` says by what the run was ended before its time (empty: it was not), ``aborted`` why --abort-when ended
    it (empty: it did not). ``cpu_share`` is the busiest
    generator process's share of a core over its busiest seconds. ``trend`` is the factor by which requests in flight
    changed over the window (1: steady), ``settled_s`` the moment at which latency had settled.
    """

    expected: float
    poisson: bool
    departs: bool = False
    lost: tuple[str, ...] = ()
    interrupted: str = ""
    aborted: str = ""
    cpu_share: float = 0.0
    trend: float = 1.0
    settled_s: float | None = None


@dataclass(frozen=True)
class Judgement:
    """What became of one clause of the objective; ``wanting`` says what it takes to decide it, where it is open."""

    clause: Clause
    answer: str
    estimate: Estimate
    wanting: str = ""


@dataclass(frozen=True)
class Verdict:
    """``outcome`` is PASS, FAIL or INVALID; ``reasons`` are sentences for people, most important first.

    ``faults`` are why the run cannot speak about the server's latency; empty where it is invalid only for what is undecided.
    ``overloaded`` says that they are all the same: the server could not keep up.
    """

    outcome: str
    reasons: tuple[str, ...]
    judgements: tuple[Judgement, ...]
    faults: tuple[str, ...] = ()
    overloaded: bool = False


def judge(summary: dict, objective: Sequence[Clause], conduct: Conduct, rate: float) -> Verdict:
    """The verdict over a summary (statistics.summarise) of a run at ``rate`` arrivals per second."""
    judgements = tuple(_judge_clause(clause, summary, rate) for clause in objective)
    aborted = [f"aborted: {conduct.aborted}"] if conduct.aborted else []
    faults = invalidities(summary, objective, conduct)
    missed = [explain(judgement, rate) for judgement in judgements if judgement.answer == MISSED]
    if aborted and not faults and not missed:
        faults = [_CUT_SHORT]
    if faults:
        overloaded = set(faults) <= {*_dropped_faults(summary, objective), *_overload_faults(conduct)}
        return Verdict(INVALID, (*aborted, *faults), judgements, (*aborted, *faults), overloaded)
    if missed:
        return Verdict(FAIL, (*aborted, *missed), judgements)
    undecided = [explain(judgement, rate) for judgement in judgements if judgement.answer == UNDECIDED]
    if undecided:
        return Verdict(INVALID, tuple(undecided), judgements)
    return Verdict(PASS, tuple(explain(judgement, rate) for judgement in judgements), judgements)


def invalidities(summary: dict, objective: Sequence[Clause], conduct: Conduct) -> list[str]:
    """Why the run cannot speak about the server, each with what to do; empty when it can."""
    faults = _end_faults(conduct)
    if not summary["planned"]:
        faults.append("no arrival fell into the measured window; run longer than the warm-up, or at a higher rate")
        return faults
    return [
        *faults,
        *_lag_faults(summary),
        *_processor_faults(conduct),
        *_dropped_faults(summary, objective),
        *_offered_faults(summary, conduct),
        *_overload_faults(conduct),
        *_warm_up_faults(conduct),
    ]


def faults_of_a_probe(content: Mapping, limit_ms: float) -> list[str]:
    """The faults in a run.json's content that leave it open whether the server is faster than ``limit_ms``.

    Not among them: what a server that cannot keep up brings about, and a lag below a tenth of the limit. Latency counts from
    the intended time, so lag makes a server look slower, never faster.
    """
    conduct = Conduct(**content["run"]["conduct"])
    harmless = [*_overload_faults(conduct), *_warm_up_faults(conduct), f"aborted: {conduct.aborted}", _CUT_SHORT]
    lag_ms = content["summary"]["lag_ms"]["p99"]["value"]
    late = lag_ms is None or lag_ms > _LAG_SHARE * limit_ms
    faults = [fault for fault in content["verdict"]["faults"] if fault not in harmless]
    return [fault for fault in faults if late or not fault.startswith(LATE)]


def generator_faults(summary: dict, objective: Sequence[Clause], conduct: Conduct) -> list[str]:
    """Those of the invalidities that the generator is to blame for; none before anything was measured."""
    if not summary["planned"]:
        return []
    return [*_end_faults(conduct), *_lag_faults(summary), *_processor_faults(conduct), *_dropped_faults(summary, objective)]


def _end_faults(conduct: Conduct) -> list[str]:
    faults = []
    if conduct.interrupted:
        faults.append(f"interrupted: {conduct.interrupted}; run it again to its end")
    if conduct.lost:
        faults.append(
            f"{len(conduct.lost)} worker(s) lost ({', '.join(conduct.lost)}): what they sent last is unknown; run it again"
        )
    return faults


@dataclass(frozen=True)
class Lag:
    """The lag that a run is held to: a percentile of it, and the bound at that percentile, in ms."""

    percentile: str
    value_ms: float
    bound_ms: float


def lag(summary: dict) -> Lag | None:
    """Lag is held against the latency claimed: both at p99, or at the highest percentile that these samples carry.

    Where failures reach into a percentile, its latency is infinite and no lag matters to it: a lower one is held, or none.
    """
    lag, latency = summary["lag_ms"], summary["latency_ms"]
    carried = [name for name in ("p99", "p95", "p90", "p50") if lag[name].value is not None] or ["max"]
    finite = [name for name in carried if latency[name].value is not None and math.isfinite(latency[name].value)]
    if not finite:
        return None
    name = finite[0]
    return Lag(name, lag[name].value, max(_LAG_FLOOR_MS, _LAG_SHARE * latency[name].value))


def _lag_faults(summary: dict) -> list[str]:
    if summary["lag_ms"]["max"].value is None:
        return ["nothing was sent; look at the generator's log"]
    held = lag(summary)
    if held is None or held.value_ms <= held.bound_ms:
        return []
    name = held.percentile
    return [
        f"{LATE}: lag {name} {format_ms(held.value_ms)} ms is above {format_ms(held.bound_ms)} ms "
        f"(10 % of the latency {name}, at least 1 ms); "
        "give it a core of its own (on Linux also --stay-awake yes) or more processes"
    ]


def _processor_faults(conduct: Conduct) -> list[str]:
    if conduct.cpu_share <= CPU_SHARE:
        return []
    return [
        f"a generator process was saturated ({format_share(conduct.cpu_share)} of a core); "
        "lower the rate or use more processes (--processes)"
    ]


def _dropped_faults(summary: dict, objective: Sequence[Clause]) -> list[str]:
    allowed = next((clause.limit for clause in objective if clause.subject == "errors"), 0.0)
    if summary["dropped"] <= allowed * summary["planned"]:
        return []
    return [
        f"{summary['dropped']:,} arrivals were dropped, more in flight than --max-in-flight allows; "
        "the server is far behind: lower the rate, or raise the bound"
    ]


def _offered_faults(summary: dict, conduct: Conduct) -> list[str]:
    allowed = _POISSON_BOUND * math.sqrt(conduct.expected) if conduct.poisson else 0.0
    # Both ends of the window may cut a gap in two, whatever the process.
    if abs(summary["planned"] - conduct.expected) <= allowed + 1:
        return ["the arrivals were not the planned process; please report this as a bug"] if conduct.departs else []
    return [
        f"offered {summary['planned']:,} arrivals where the plan foresaw {conduct.expected:,.0f} "
        f"(give or take {allowed + 1:,.0f}); let the streams start within the warm-up, or run longer"
    ]


def _overload_faults(conduct: Conduct) -> list[str]:
    if conduct.trend <= _TREND:
        return []
    return [
        f"not in steady state: requests in flight grew {conduct.trend:.1f} times over the run, so its latency is that "
        "of its length; the server cannot keep up: lower the rate"
    ]


def _warm_up_faults(conduct: Conduct) -> list[str]:
    if conduct.trend < 1 / _TREND:
        return [
            f"not in steady state: requests in flight fell to {format_share(conduct.trend)} over the run; "
            "the server was still warming up: raise --warmup"
        ]
    if conduct.settled_s is not None and conduct.trend <= _TREND:
        return [
            f"the warm-up was too short: latency settled only after {conduct.settled_s:.1f} s (MSER-5); raise --warmup, "
            "or lower the rate where that does not help: near a server's limit a long queue looks the same"
        ]
    return []


def _judge_clause(clause: Clause, summary: dict, rate: float) -> Judgement:
    estimate = subject(clause.subject, summary)
    answer = clause.judge(estimate, rate)
    return Judgement(clause, answer, estimate, _wanting(clause, estimate, summary, rate) if answer == UNDECIDED else "")


def _wanting(clause: Clause, estimate: Estimate, summary: dict, rate: float) -> str:
    """What decides a clause that is open, in words: a longer run, or none."""
    planned, answers = summary["planned"], summary["ok"] + summary["wrong"]
    needed = duration.needed(clause, rate) if rate else None
    if clause.subject == "accuracy" and estimate.value is None:
        return "the corpus names no intents, so no run of it can say" if answers else "nothing was answered"
    if clause.subject == "mean" and answers < planned:
        return "arrivals that were never answered have no latency to take a mean of; claim a percentile"
    if needed is None:
        return "no run can decide it; choose a limit that leaves some room"
    if planned < needed:
        seconds = needed / rate
        takes = format_duration(seconds)
        return f"{planned:,} arrivals are too few; run at least {needed:,}, which take {takes} after the warm-up"
    times = _times_longer(clause, estimate, rate)
    if times is None:
        return f"too little to say how much it takes; run ten times as long, {format_duration(10 * planned / rate)}"
    return f"run about {times} times as long, {format_duration(times * planned / rate)} after the warm-up"


def subject(name: str, summary: dict) -> Estimate:
    """The estimate that a clause about ``name`` speaks of.

    The mean leaves out arrivals that were never answered, so a run with failures has no mean to be judged.
    """
    if name in LATENCIES:
        unanswered = summary["planned"] - summary["ok"] - summary["wrong"]
        return Estimate(None, None, None) if name == "mean" and unanswered else summary["latency_ms"][name]
    if name == "accuracy":
        return summary["accuracy"]["share"]
    return summary[name]


def explain(judgement: Judgement, rate: float) -> str:
    """What became of a clause and why, in a sentence for people."""
    clause, estimate = judgement.clause, judgement.estimate
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"{clause.text} not decided: {judgement.wanting}"
    said = f"{clause.subject} is {_measured(clause, estimate.value, estimate.low, estimate.high)}"
    if judgement.answer == UNDECIDED:
        return f"{clause.text} not decided: {said}; {judgement.wanting}"
    return f"{clause.text} {judgement.answer}: {said}"


def _measured(clause: Clause, value: float, low: float, high: float) -> str:
    if math.isinf(low):
        return "no answer, beyond doubt"
    bounds = f"{clause.show(low)} or more" if math.isinf(high) else f"{clause.show(low)} to {clause.show(high)}"
    return f"{'no answer' if math.isinf(value) else clause.show(value)} (95 % interval {bounds})"


def _times_longer(clause: Clause, estimate: Estimate, rate: float) -> int | None:
    """How many times longer a run must be for its interval to clear the limit; intervals shrink with the square root.

    None where an end of the interval is open, or the value lies on the limit.
    """
    limit = clause.limit_at(rate)
    assert estimate.value is not None
    assert estimate.low is not None
    assert estimate.high is not None
    side = estimate.high - estimate.value if estimate.value < limit else estimate.value - estimate.low
    distance = abs(limit - estimate.value)
    if distance == 0 or not math.isfinite(side / distance):
        return None
    return max(2, math.ceil((side / distance) ** 2))
