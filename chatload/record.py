"""Record: rows of samples, or of calls, on their way from the hot path to whoever keeps them."""

from __future__ import annotations

import struct

from chatload import samples
from chatload.arrivals import Arrival

_CHUNK_ROWS = 4096


class Record:
    """Collects rows; ``take`` hands over what has come since the last call, so memory stays constant."""

    def __init__(self, row: struct.Struct = samples.ROW) -> None:
        self._row = row
        self._full: list[bytes] = []
        self._chunk = bytearray(_CHUNK_ROWS * row.size)
        self._end = 0

    def append(self, *row: float) -> None:
        """Appends one row: its fields in their order, those of samples.DTYPE or calls.DTYPE."""
        self._row.pack_into(self._chunk, self._end, *row)
        self._advance()

    def sample(
        self,
        arrival: Arrival,
        sent_s: float,
        done_s: float,
        predicted: int,
        outcome: int,
        tokenize_ms: float,
        infer_ms: float,
        size: int,
        tokens: int,
    ) -> None:
        """Appends the sample of an arrival, a row of samples.DTYPE."""
        self._row.pack_into(  # in one call, without tuples between: this is done for every request
            self._chunk,
            self._end,
            arrival.intended_s,
            sent_s,
            done_s,
            arrival.utterance,
            predicted,
            outcome,
            tokenize_ms,
            infer_ms,
            size,
            tokens,
            arrival.variant,
            arrival.session,
            arrival.turn,
            arrival.held_s,
        )
        self._advance()

    def _advance(self) -> None:
        self._end += self._row.size
        if self._end == len(self._chunk):
            self._full.append(bytes(self._chunk))
            self._end = 0

    def __len__(self) -> int:
        """How many rows have come since the last call of ``take``."""
        return len(self._full) * _CHUNK_ROWS + self._end // self._row.size

    def take(self) -> bytes:
        """The rows since the last call."""
        rows = b"".join([*self._full, memoryview(self._chunk)[: self._end]])
        self._full.clear()
        self._end = 0
        return rows
