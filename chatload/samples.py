"""Samples: what happened to each arrival, in fixed-size rows.

A row is a fixed number of bytes, so that a generator appends one with a single pack, a file of rows cut off anywhere is
still readable, and a reader sees columns without parsing. Texts and intents stand in tables beside the rows; a row holds
their index. All times are seconds since the run's epoch. Zero stands for what there is not: ``tokens`` that no answer
told, an utterance as it stands in the corpus (``variant``), an arrival that is no part of a session (``turn``, which counts
from 1).
"""

from __future__ import annotations

import struct

import numpy as np

ROW = struct.Struct("<dddihhffIHIIHf")
DTYPE = np.dtype(
    [
        ("intended_s", "<f8"),
        ("sent_s", "<f8"),
        ("done_s", "<f8"),
        ("utterance", "<i4"),
        ("predicted", "<i2"),
        ("outcome", "<i2"),
        ("tokenize_ms", "<f4"),
        ("infer_ms", "<f4"),
        ("bytes", "<u4"),
        ("tokens", "<u2"),
        ("variant", "<u4"),
        ("session", "<u4"),
        ("turn", "<u2"),
        ("held_s", "<f4"),
    ]
)

OK, WRONG, TIMEOUT, CONNECT, RESET, DROPPED, UNFINISHED = range(7)
_NAMES = ("ok", "wrong", "timeout", "connect", "reset", "dropped", "unfinished")
NOT_PREDICTED = -1
NEVER = float("nan")  # the time of something that did not happen


def pack(
    intended_s: float,
    sent_s: float,
    done_s: float,
    utterance: int,
    predicted: int,
    outcome: int,
    tokenize_ms: float,
    infer_ms: float,
    size: int,
    tokens: int = 0,
    variant: int = 0,
    session: int = 0,
    turn: int = 0,
    held_s: float = 0.0,
) -> bytes:
    """One row: the fields of DTYPE in their order, the later ones with what they are in a plain run."""
    fields = (intended_s, sent_s, done_s, utterance, predicted, outcome, tokenize_ms, infer_ms, size)
    return ROW.pack(*fields, tokens, variant, session, turn, held_s)


def outcome_name(code: int) -> str:
    """The outcome's word: one of the fixed ones, or http_NNN for a code that is an HTTP status."""
    return _NAMES[code] if code < len(_NAMES) else f"http_{code}"


def outcome_code(name: str) -> int:
    """The code of an outcome's word. Raises ValueError for a word that is none."""
    return int(name.removeprefix("http_")) if name.startswith("http_") else _NAMES.index(name)


def answered(rows: np.ndarray) -> np.ndarray:
    """Which rows were answered (ok or wrong), as a boolean array of the same length."""
    return rows["outcome"] <= WRONG


def from_bytes(data: bytes) -> np.ndarray:
    """The whole rows in ``data``; a row cut off at the end, as a killed process leaves one, is left out."""
    whole = len(data) // DTYPE.itemsize
    return np.frombuffer(data, dtype=DTYPE, count=whole)


def latency_ms(rows: np.ndarray) -> np.ndarray:
    """Latency of each row in milliseconds, from the intended time.

    Infinite for every arrival that was not answered: that customer is still waiting, and a failure must never look like
    a fast success.
    """
    latency = (rows["done_s"] - rows["intended_s"]) * 1e3
    return np.where(answered(rows), latency, np.inf)


def lag_ms(rows: np.ndarray) -> np.ndarray:
    """The generator's own lateness of each row in milliseconds; NaN for what was never sent.

    An arrival that had to wait for the answer to its session's turn before (``held_s``) is not late by that.
    """
    return (rows["sent_s"] - rows["intended_s"] - rows["held_s"]) * 1e3
