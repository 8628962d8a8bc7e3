"""Chat log: what is kept of a log of utterances, whatever file it came from: moments, lengths, and marks instead of texts.

A mark is a number that equal texts (or session ids) of one log share and different ones do not; ten million rows are some
hundred megabytes as marks, and several gigabytes as texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

_USUAL = {
    "time": "intended_s timestamp time ts datetime date created created_at sent_at received_at time_s",
    "text": "utterance text message content query question prompt",
    "intent": "intent label category",
    "session": "session session_id conversation conversation_id dialogue_id dialog_id chat_id thread_id",
    "tokens": "tokens token_count num_tokens request_tokens context_tokens prompt_tokens input_tokens",
}
_TICKS_S = (3600.0, 60.0, 1.0)
_UNITS = ((1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds"))  # (from, a second, name)


class LogError(ValueError):
    """A log that cannot be described; the message names the file and what would be right."""


@dataclass(frozen=True)
class Columns:
    """The names of a log's columns; empty for what it does not hold."""

    time: str = ""
    text: str = ""
    intent: str = ""
    session: str = ""
    tokens: str = ""

    @property
    def names(self) -> list[str]:
        """Those that the log has."""
        return [name for name in (self.time, self.text, self.intent, self.session, self.tokens) if name]


def choose(names: Sequence[str], wanted: Columns, file: str) -> Columns:
    """The columns to read of those that a file has: those ``wanted`` by name, else those with usual names.

    Names are usual whatever their case and punctuation: ``Session ID`` is ``session_id``. Raises LogError.
    """
    found = {}
    for role, usual in _USUAL.items():
        named = getattr(wanted, role)
        if named and named not in names:
            raise LogError(f"log {file}: no column {named!r} for --{role}-column; it has {', '.join(names)}")
        found[role] = named or _first_usual(names, usual.split())
    if not found["time"] and not found["text"]:
        raise LogError(
            f"log {file}: no column with times or texts among {', '.join(names)}: "
            "name one with --time-column or --text-column"
        )
    return Columns(**found)


def _first_usual(names: Sequence[str], usual: Sequence[str]) -> str:
    plain = {re.sub("[^a-z]", "", name.lower()): name for name in reversed(names)}
    return next((plain[name.replace("_", "")] for name in usual if name.replace("_", "") in plain), "")


@dataclass
class Histogram:
    """How many of a thing have each whole size."""

    counts: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def add(self, sizes: Sequence[int] | np.ndarray) -> None:
        """Counts more of the things."""
        more = np.bincount(np.asarray(sizes, dtype=np.int64), minlength=len(self.counts))
        more[: len(self.counts)] += self.counts
        self.counts = more

    @property
    def total(self) -> int:
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        return float(np.average(np.arange(len(self.counts)), weights=self.counts))

    def percentile(self, share: float) -> int:
        """The size that a ``share`` of the things does not exceed."""
        return int(np.searchsorted(np.cumsum(self.counts), share * self.total, side="left"))

    def between(self, low: int, high: int | None) -> int:
        """How many have a size from ``low`` to ``high`` (None: and above)."""
        return int(self.counts[low : None if high is None else high + 1].sum())


@dataclass(frozen=True)
class Times:
    """Moments of a log in order, seconds since the first; ``order`` is their places in the file, None: as they stand.

    ``tick_s`` is the resolution of the clock that wrote them where it is a second or coarser: then they were spread.
    ``unit`` is set where the file holds epoch milliseconds or finer.
    """

    offsets_s: np.ndarray
    order: np.ndarray | None
    tick_s: float
    unit: str


def times(moments: np.ndarray, file: str) -> Times:
    """The moments of a log's rows (epoch seconds or milliseconds, or offsets in seconds), put in order. Raises LogError.

    Moments on whole seconds (minutes, hours) are spread evenly at random within theirs, with a fixed seed: what happened
    within is not in the log, and all of a second at once would look like a burst.
    """
    first, last = moments.min(), moments.max()
    if first == last:
        raise LogError(f"log {file}: all rows have one time; two moments or more are wanted")
    largest = max(abs(first), abs(last))
    second, unit = next(((second, name) for least, second, name in _UNITS if largest > least), (1.0, ""))
    moments_s = moments - first
    moments_s /= second
    tick_s = next((tick_s for tick_s in _TICKS_S if not (moments_s % tick_s).any()), 0.0)
    if tick_s:
        moments_s += np.random.default_rng(1).uniform(0, tick_s, len(moments_s))
    elif (moments[1:] >= moments[:-1]).all():
        return Times(moments_s, None, tick_s, unit)
    order = np.argsort(moments_s, kind="stable")
    in_order = moments_s[order]
    return Times(in_order - in_order[0], order, tick_s, unit)


@dataclass(frozen=True)
class Log:
    """A log in marks and sizes, rows in order of time (as they stand where there are no times).

    ``replays``: --arrivals trace plays its file as it stands. ``draws``: --corpus takes it, told its columns. ``blank`` rows
    have no text.
    """

    file: str
    columns: Columns
    rows: int
    times: Times | None
    sorted_here: bool
    replays: bool
    draws: bool
    texts: np.ndarray | None  # a mark a row
    sessions: np.ndarray | None  # a mark a row
    blank: int
    words: Histogram
    characters: Histogram
    tokens: Histogram
    intents: Counter[str]
