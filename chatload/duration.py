"""Duration: whether a run of the planned length can decide its objective, said before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chatload import statistics
from chatload.objective import Clause
from chatload.units import format_duration

_SHARES = {statistics.percentile_name(share): share for share in statistics.PERCENTILES}


def needed(clause: Clause, rate: float) -> int | None:
    """How many arrivals decide a clause in the best case: independent, and with a value far from the limit.

    None where no number does: a throughput of all that is offered is a coin's toss.
    """
    if clause.subject in _SHARES:
        return statistics.needed_samples(_SHARES[clause.subject])
    if clause.subject == "mean":
        return 2
    if clause.subject == "throughput":
        missing = 1 - clause.limit_at(rate) / rate
        return math.ceil((statistics.TWO_SIDED / missing) ** 2) if missing > 0 else None
    return statistics.needed_samples(1 - clause.limit if clause.below else clause.limit)  # not one error, or wrong answer


def advice(clauses: Sequence[Clause], rate: float, warmup_s: float, run_time_s: float, labelled: bool = True) -> str:
    """One line for the console: can a run at ``rate`` arrivals per second decide these clauses? ``run_time_s`` 0: no end.

    ``labelled`` says whether the corpus names intents, without which there is no accuracy.
    """
    unchecked = [clause.text for clause in clauses if clause.subject == "accuracy" and not labelled]
    if unchecked:
        return f"no run can decide {' and '.join(unchecked)}: the corpus names no intents"
    needs = {clause.text: needed(clause, rate) for clause in clauses}
    never = [text for text, count in needs.items() if count is None]
    if never:
        return f"no run can decide {' and '.join(never)}: choose a limit that leaves some room"
    counts = {text: count for text, count in needs.items() if count is not None}
    said = " and ".join(f"{text} needs at least {count:,}" for text, count in counts.items())
    longest_s = max(counts.values()) / rate + warmup_s
    if not run_time_s:
        return f"no planned end: of the arrivals at {rate:g}/s, {said}, which takes {format_duration(longest_s)}"
    planned = rate * (run_time_s - warmup_s)
    if planned >= max(counts.values()):
        unless = "long enough, unless a value is near its limit or answers queue"
        return f"about {planned:,.0f} arrivals are planned; {said}: {unless}"
    seconds = math.ceil(longest_s * 1.05)  # a Poisson count may fall short of its mean
    return (
        f"too short to decide the objective: about {planned:,.0f} arrivals are planned, {said}; "
        f"use --run-time {seconds}s (make: DURATION={seconds}s)"
    )
