"""Calls: what happened to each model call of each turn, in fixed-size rows beside the samples, and their summary.

A turn's sample tells of the turn as a whole. ``arrival`` is the number of the turn's arrival in its process, ``arrival_s``
its intended time, ``call`` the call's place in the graph. A call's own ``intended_s`` is the moment at which it was due: the
arrival's, or when the last of those that it waits for was done. Times are seconds since the run's epoch.
"""

from __future__ import annotations

import struct

import numpy as np

from chatload import samples, statistics
from chatload.call_graph import CallGraph

ROW = struct.Struct("<IdHdddhhff?")
DTYPE = np.dtype(
    [
        ("arrival", "<u4"),
        ("arrival_s", "<f8"),
        ("call", "<u2"),
        ("intended_s", "<f8"),
        ("sent_s", "<f8"),
        ("done_s", "<f8"),
        ("outcome", "<i2"),
        ("predicted", "<i2"),
        ("tokenize_ms", "<f4"),
        ("infer_ms", "<f4"),
        ("critical", "?"),
    ]
)


def summarise(rows: np.ndarray, graph: CallGraph, start_s: float, end_s: float) -> dict[str, dict]:
    """For each call by name: how many were sent, their latency, their outcomes, and how often the turn waited for it.

    Of the turns whose arrival was intended between two moments. ``critical_share`` is the share of answered turns with the
    call on their critical path, None where no turn was answered; Estimates stand in place of their JSON form.
    """
    rows = rows[(rows["arrival_s"] >= start_s) & (rows["arrival_s"] < end_s)]
    rows = rows[np.argsort(rows["intended_s"], kind="stable")]
    turns = int(np.count_nonzero(rows["critical"] & np.isin(rows["call"], graph.roots)))  # a critical path has one root
    return {name: _summary(rows[rows["call"] == place], turns) for place, name in enumerate(graph.names)}


def _summary(rows: np.ndarray, turns: int) -> dict:
    codes, counts = np.unique(rows["outcome"], return_counts=True)
    return {
        "count": len(rows),
        "latency_ms": statistics.distribution(samples.latency_ms(rows)),
        "outcomes": {samples.outcome_name(int(code)): int(count) for code, count in zip(codes, counts, strict=True)},
        "critical_share": int(np.count_nonzero(rows["critical"])) / turns if turns else None,
    }
