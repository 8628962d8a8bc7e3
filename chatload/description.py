"""Description: what a log of utterances looks like, in numbers: rate, bursts, sessions, lengths and repeats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chatload.chat_log import Histogram, Log

WINDOWS_S = (1, 10, 60, 600, 3600)
LEAST_WINDOWS = 20
RECENT = 1_000  # rows within which a repeat counts as recent
_BINS = 60
_WIDTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800)


@dataclass(frozen=True)
class Burstiness:
    """How far arrivals are from independent: the coefficient of variation of their gaps (Poisson: 1), and the index of
    dispersion of their counts, variance over mean, by window in seconds (Poisson: 1 for every window)."""

    cv: float
    dispersion: dict[int, float]

    @property
    def values(self) -> dict[str, float]:
        """All of it by name."""
        return {"cv": self.cv} | {f"dispersion {window_s}s": value for window_s, value in self.dispersion.items()}


@dataclass(frozen=True)
class Traffic:
    """Arrivals at ``offsets_s``, over ``span_s`` seconds; rates per second, the ``rates`` in steps of ``step_s``.

    ``peak_minute`` and ``peak_hour`` are the most arrivals in a whole minute and hour; None where the span holds none.
    """

    count: int
    span_s: float
    rate: float
    peak_minute: int | None
    peak_hour: int | None
    step_s: float
    rates: np.ndarray
    burstiness: Burstiness
    offsets_s: np.ndarray


@dataclass(frozen=True)
class Spread:
    """Mean, coefficient of variation and median of a quantity."""

    mean: float
    cv: float
    p50: float


@dataclass(frozen=True)
class Sessions:
    """Conversations: their number, turns a session, the seconds from one turn to the next, and when they start."""

    count: int
    turns: Spread
    think_s: Spread | None
    starts: Traffic | None


@dataclass(frozen=True)
class Repeats:
    """Texts that came before: their share of all, and the share of those that came within the last thousand rows."""

    share: float
    recent: float


@dataclass(frozen=True)
class Description:
    """All that is said of a log; None for what its columns do not tell."""

    log: Log
    traffic: Traffic | None
    sessions: Sessions | None
    repeats: Repeats | None

    @property
    def conversing(self) -> bool:
        """Whether the log holds sessions worth the name, with their times: more than one, some of several turns."""
        return self.sessions is not None and self.sessions.think_s is not None and self.sessions.starts is not None

    @property
    def starting(self) -> Traffic | None:
        """What an arrival process has to reproduce: the starts of sessions where there are any, else every row."""
        return self.sessions.starts if self.sessions and self.conversing else self.traffic


def describe(log: Log, pause_s: float = math.inf) -> Description:
    """What a log looks like; a session that rests for longer than ``pause_s`` seconds ends there."""
    offsets_s = log.times.offsets_s if log.times else None
    return Description(
        log,
        traffic(offsets_s) if offsets_s is not None else None,
        sessions(log.sessions, offsets_s, pause_s) if log.sessions is not None else None,
        repeats(log.texts) if log.texts is not None else None,
    )


def traffic(offsets_s: np.ndarray) -> Traffic:
    """What arrivals look like: ``offsets_s`` are two moments or more in order, seconds since the first, not all the same."""
    span_s = float(offsets_s[-1])
    step_s = next((width_s for width_s in _WIDTHS_S if span_s / width_s <= _BINS), span_s / _BINS)
    step_s = min(float(step_s), span_s)
    counts = np.histogram(offsets_s, np.arange(int(span_s // step_s) + 1) * step_s)[0]
    return Traffic(
        len(offsets_s),
        span_s,
        (len(offsets_s) - 1) / span_s,
        _peak(offsets_s, 60),
        _peak(offsets_s, 3600),
        step_s,
        counts / step_s,
        burstiness(offsets_s, span_s),
        offsets_s,
    )


def burstiness(offsets_s: np.ndarray, span_s: float, windows_s: Sequence[int] = WINDOWS_S) -> Burstiness:
    """CV of the gaps and dispersion of the counts of arrivals in order, two or more between 0 and ``span_s`` seconds.

    A window of which the span holds fewer than LEAST_WINDOWS says nothing and is left out.
    """
    gaps_s = np.diff(offsets_s)
    found = {window_s: dispersion(offsets_s, span_s, window_s) for window_s in windows_s}
    told = {window_s: value for window_s, value in found.items() if value is not None}
    return Burstiness(float(gaps_s.std() / gaps_s.mean()), told)


def dispersion(offsets_s: np.ndarray, span_s: float, window_s: float) -> float | None:
    """Variance over mean of the counts in whole windows (Cox and Lewis, 1966, ch. 4.5); None for too few of them."""
    windows = int(span_s // window_s)
    if windows < LEAST_WINDOWS:
        return None
    counts = _counts(offsets_s, window_s, windows)
    mean = counts.sum() / windows
    variance = (np.sum(counts.astype(float) ** 2) - windows * mean**2) / (windows - 1)
    return float(variance / mean)


def _counts(offsets_s: np.ndarray, window_s: float, windows: int) -> np.ndarray:
    """How many arrivals lie in each of the first ``windows``; where these are more than arrivals, in those that hold any."""
    if windows <= len(offsets_s):
        return np.diff(np.searchsorted(offsets_s, np.arange(windows + 1) * window_s))
    numbers = (offsets_s // window_s).astype(np.int64)
    numbers = numbers[: np.searchsorted(numbers, windows)]
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    return np.diff(firsts, append=len(numbers))


def _peak(offsets_s: np.ndarray, window_s: float) -> int | None:
    windows = int(offsets_s[-1] // window_s)
    return int(_counts(offsets_s, window_s, windows).max()) if windows else None


def sessions(marks: np.ndarray, offsets_s: np.ndarray | None, pause_s: float = math.inf) -> Sessions:
    """Conversations of rows in order of time: rows with one mark are one session, up to a gap of more than ``pause_s``."""
    order = np.argsort(marks, kind="stable")
    opens = _differ(marks[order])
    if offsets_s is None:
        return Sessions(int(opens.sum()), _spread(_turns(opens)), None, None)
    by_session_s = offsets_s[order]
    del order  # of ten million rows each such array is 80 MB
    gaps_s = np.diff(by_session_s, prepend=0.0)
    opens |= gaps_s > pause_s
    thinks_s, starts_s = gaps_s[~opens], np.sort(by_session_s[opens])
    starts_s = starts_s - starts_s[0]
    return Sessions(
        int(opens.sum()),
        _spread(_turns(opens)),
        _spread(thinks_s) if len(thinks_s) else None,
        traffic(starts_s) if len(starts_s) > 1 and starts_s[-1] > 0 else None,
    )


def _differ(values: np.ndarray) -> np.ndarray:
    """Whether each of some values is another than the one before it; the first is."""
    return np.append(True, values[1:] != values[:-1])


def _turns(opens: np.ndarray) -> np.ndarray:
    """How many rows each session has, of rows of which some open one."""
    return np.diff(np.flatnonzero(opens), append=len(opens))


def _spread(values: np.ndarray) -> Spread:
    mean = float(values.mean())
    return Spread(mean, float(values.std() / mean) if mean else 0.0, float(np.median(values)))


def repeats(marks: np.ndarray) -> Repeats:
    """How many rows have a text that came before, of rows in order of time."""
    order = np.argsort(marks, kind="stable")
    again = ~_differ(marks[order])
    near = np.diff(order, prepend=0)[again] <= RECENT
    return Repeats(float(again.mean()), float(near.sum() / len(marks)))


def length_bands(words: Histogram) -> dict[str, float]:
    """Shares of all texts by their number of words, in bands such as 1-3 and 26-."""
    lows = (1, 4, 7, 11, 16, 26)
    highs = (*(low - 1 for low in lows[1:]), None)
    counts = {f"{low}-{high or ''}": words.between(low, high) for low, high in zip(lows, highs, strict=True)}
    return {band: count / words.total for band, count in counts.items() if count}
