"""Abort: when a run is beyond hope, so that it need not go on to its end.

    errors>50%,p50>5s for 10s

Clauses of the objective turned round, any of which ends the run: percentiles of latency, and errors. They are judged over
what was reported in the last seconds, the warm-up left out, as soon as that many seconds have passed.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass

import numpy as np

from chatload import objective, samples, statistics
from chatload.objective import Clause
from chatload.units import UnitError, format_duration, format_share, parse_duration_s

DEFAULT_WINDOW_S = 10.0
_RULE = re.compile(r"(?P<clauses>.*?)(?:\s+for\s+(?P<window>.+))?", re.DOTALL)
_SHARES = {statistics.percentile_name(share): share for share in statistics.PERCENTILES}


class AbortError(ValueError):
    """A rule that cannot be read; the message names the clause, what is wrong and what would be right."""


@dataclass(frozen=True)
class Rule:
    """Any of ``clauses``, over the last ``window_s`` seconds, ends a run."""

    clauses: tuple[Clause, ...]
    window_s: float


def parse(text: str) -> Rule:
    """The rule in ``text``. Raises AbortError."""
    match = _RULE.fullmatch(text)
    assert match is not None
    try:
        clauses = objective.parse(match["clauses"], turned=True)
        window_s = parse_duration_s(match["window"]) if match["window"] else DEFAULT_WINDOW_S
    except (objective.ObjectiveError, UnitError) as error:
        raise AbortError(str(error)) from error
    for clause in clauses:
        if clause.subject not in _SHARES and clause.subject != "errors":
            raise AbortError(f"{clause.text!r}: {clause.subject} is not watched: choose one of {', '.join(_SHARES)}, errors")
    if window_s <= 0:
        raise AbortError(f"{text.strip()!r}: give it some time to look at, for example for 10s")
    return Rule(clauses, window_s)


class Watch:
    """Judges the samples of a running run as they are reported. It only counts, which takes about 0.1 ms a report."""

    def __init__(self, rule: Rule, warmup_s: float) -> None:
        self._rule = rule
        self._warmup_s = warmup_s
        self._reports: deque[tuple[float, np.ndarray]] = deque()

    def see(self, rows: np.ndarray, now_s: float) -> str:
        """Takes the rows (samples.DTYPE) reported at ``now_s``; returns why to abort now, or an empty string."""
        rule, rows = self._rule, rows[rows["intended_s"] >= self._warmup_s]
        counts = [len(rows), *(np.count_nonzero(_beyond(clause, rows)) for clause in rule.clauses)]
        self._reports.append((now_s, np.array(counts)))
        while self._reports[0][0] <= now_s - rule.window_s:
            self._reports.popleft()
        if now_s < self._warmup_s + rule.window_s:
            return ""
        count, *beyond = np.sum([counts for _, counts in self._reports], axis=0).tolist()
        hopeless = [_explain(clause, hits, count, rule.window_s) for clause, hits in zip(rule.clauses, beyond, strict=True)]
        return next((reason for reason in hopeless if reason), "")


def _beyond(clause: Clause, rows: np.ndarray) -> np.ndarray:
    return ~samples.answered(rows) if clause.subject == "errors" else samples.latency_ms(rows) >= clause.limit


def _explain(clause: Clause, hits: int, count: int, window_s: float) -> str:
    """A percentile is above its limit where more samples are than it leaves room for; beyond doubt, as a share is judged."""
    allowed = clause.limit if clause.subject == "errors" else 1 - _SHARES[clause.subject]
    if not count or hits / count <= allowed or statistics.share_bounds(hits, count)[0] <= allowed:
        return ""
    what = "were not answered" if clause.subject == "errors" else "took longer or were not answered"
    return f"{clause.text}: {format_share(hits / count)} of {count:,} arrivals in {format_duration(window_s)} {what}"
