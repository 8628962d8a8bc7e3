"""Objective: what a run has to show, as a list of clauses.

Grammar, clauses separated by commas:

    p99<100ms       a percentile of latency below a duration (p50, p90, p95, p99, p99.9, p99.99; also mean)
    errors<0.1%     the share of planned arrivals that were not answered
    accuracy>97%    the share of checked answers with the expected intent
    throughput>=0.99*rate   answers per second, or plainly throughput>=200

Each clause is judged with the interval of what it speaks about, and has three answers: met, missed, or undecided.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from chatload.units import NUMBER, UnitError, format_ms, format_share, parse_duration_s, parse_share

LATENCIES = ("p50", "p90", "p95", "p99", "p99.9", "p99.99", "mean")
_CLAUSE = re.compile(r"\s*([a-z]+[0-9.]*)\s*(<=|>=|<|>)\s*(.+?)\s*")

MET, MISSED, UNDECIDED = "met", "missed", "undecided"


class ObjectiveError(ValueError):
    """An objective that cannot be read; the message names the clause, what is wrong and what would be right."""


@dataclass(frozen=True)
class Estimate:
    """A measured value with the bounds that hold it at 95 % confidence.

    ``value`` is None where the samples cannot carry the claim; ``high`` is infinite where failures reach into it.
    """

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Clause:
    """One claim: ``subject`` is below or above ``limit`` (milliseconds, a share, or answers per second)."""

    subject: str
    below: bool
    limit: float
    text: str
    relative_to_rate: bool = False

    def limit_at(self, rate: float) -> float:
        """The limit for a run at ``rate`` arrivals per second."""
        return self.limit * rate if self.relative_to_rate else self.limit

    def judge(self, estimate: Estimate, rate: float) -> str:
        """MET or MISSED when the whole interval lies on one side of the limit, else UNDECIDED."""
        if estimate.low is None or estimate.high is None:
            return UNDECIDED
        limit = self.limit_at(rate)
        if self.below:
            return MET if estimate.high < limit else MISSED if estimate.low >= limit else UNDECIDED
        return MET if estimate.low >= limit else MISSED if estimate.high < limit else UNDECIDED

    def show(self, value: float) -> str:
        """``value`` in the clause's unit, for people."""
        if self.subject in LATENCIES:
            return f"{format_ms(value)} ms"
        return f"{value:,.4g}/s" if self.subject == "throughput" else format_share(value)


def parse(text: str, turned: bool = False) -> tuple[Clause, ...]:
    """The clauses of an objective. Raises ObjectiveError; an empty text is an error too.

    ``turned`` reads each clause as the opposite of a claim: p99>2s says that the claim p99<2s does not hold.
    """
    clauses = tuple(_parse_clause(part, turned) for part in text.split(",") if part.strip())
    if not clauses:
        raise ObjectiveError(f"{'it' if turned else 'the objective'} is empty: write for example {_example(turned)}")
    return clauses


def _example(turned: bool) -> str:
    return "p99>2s,errors>50%" if turned else "p99<100ms,errors<0.1%"


def _parse_clause(text: str, turned: bool) -> Clause:
    match = _CLAUSE.fullmatch(text)
    if not match:
        raise ObjectiveError(f"{text.strip()!r} is not a clause: write for example {_example(turned)}")
    subject, operator, limit = match.groups()
    if subject not in _READERS:
        raise ObjectiveError(f"{text.strip()!r}: no such thing as {subject!r}: choose one of {', '.join(_READERS)}")
    below = operator.startswith("<") != turned
    if below != (subject in LATENCIES or subject == "errors"):
        right = "above (>)" if operator.startswith("<") else "below (<)"
        raise ObjectiveError(f"{text.strip()!r}: {subject} is {'bad' if turned else 'good'} when {right} its limit")
    try:
        value, relative = _READERS[subject](limit)
    except UnitError as error:
        raise ObjectiveError(f"{text.strip()!r}: {error}") from error
    clause = Clause(subject, below, value, "".join(text.split()), relative)
    if not turned and _foregone(clause):
        raise ObjectiveError(f"{clause.text!r}: no run can {_foregone(clause)} that: choose a limit that leaves some room")
    return clause


def _foregone(clause: Clause) -> str:
    """What no run can do to a clause, whatever it measures: "show" it or "miss" it; empty where both can be."""
    if clause.limit == 0:
        return "show" if clause.below else "miss"
    if clause.limit == 1 and clause.subject in ("errors", "accuracy"):
        return "miss" if clause.below else "show"
    return ""


def _read_latency_ms(text: str) -> tuple[float, bool]:
    if re.fullmatch(NUMBER, text):
        raise UnitError(f"{text!r} has no unit: write {text}ms or {text}s")
    return parse_duration_s(text) * 1e3, False


def _read_share(text: str) -> tuple[float, bool]:
    return parse_share(text), False


def _read_throughput(text: str) -> tuple[float, bool]:
    match = re.fullmatch(rf"({NUMBER})\s*(\*\s*rate)?", text)
    if not match:
        raise UnitError(f"{text!r} is not a throughput: write 0.99*rate or a number of answers per second")
    return float(match[1]), bool(match[2])


_READERS: dict[str, Callable[[str], tuple[float, bool]]] = {
    **dict.fromkeys(LATENCIES, _read_latency_ms),
    "errors": _read_share,
    "accuracy": _read_share,
    "throughput": _read_throughput,
}
