"""Groups: latency and accuracy of parts of a run's samples, in the form in which run.json's summary has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chatload import samples, statistics

_SHARES = (0.50, 0.90, 0.99)
_LAST_TURN = 6  # this one and all after it are one group: few sessions are that long


def by_turn(rows: np.ndarray, labelled: np.ndarray) -> dict[str, dict]:
    """The groups of rows (as in summarise) by the turn of their session: "1", "2", ... "6+"; empty without sessions."""
    names = [str(turn) for turn in range(1, _LAST_TURN)] + [f"{_LAST_TURN}+"]
    return summarise(rows, labelled, np.minimum(rows["turn"], _LAST_TURN).astype(np.int64) - 1, names)


def summarise(rows: np.ndarray, labelled: np.ndarray, codes: np.ndarray, names: Sequence[str]) -> dict[str, dict]:
    """The groups that occur, by name: {"count", "latency_ms": {"p50", "p90", "p99"}, "accuracy": {...}}.

    ``rows`` (samples.DTYPE) are in order of intended time; for each of them ``labelled`` says whether its utterance has a
    known intent, ``codes`` the index of its group's name, below 0 for none. Estimates stand as statistics gives them.
    """
    found = {}
    for code, name in enumerate(names):
        members = codes == code
        if members.any():
            found[name] = _group(rows[members], labelled[members])
    return found


def _group(rows: np.ndarray, labelled: np.ndarray) -> dict:
    latency_ms = samples.latency_ms(rows)
    ordered = np.sort(latency_ms)
    correct = rows["outcome"][samples.answered(rows) & labelled] == samples.OK
    return {
        "count": len(rows),
        "latency_ms": {
            statistics.percentile_name(share): statistics.percentile(latency_ms, share, ordered) for share in _SHARES
        },
        "accuracy": {
            "checked": len(correct),
            "correct": int(np.count_nonzero(correct)),
            "share": statistics.proportion(correct),
        },
    }
