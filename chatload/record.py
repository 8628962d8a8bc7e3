"""Record: rows of samples on their way from the hot path to whoever keeps them."""

from __future__ import annotations

from chatload import samples

_CHUNK_ROWS = 4096


class Record:
    """Collects rows of samples.ROW; ``take`` hands over what has come since the last call, so memory stays constant."""

    def __init__(self) -> None:
        self._full: list[bytes] = []
        self._chunk = bytearray(_CHUNK_ROWS * samples.ROW.size)
        self._end = 0

    def append(self, *row: float) -> None:
        """Appends one sample: the fields of samples.DTYPE in their order."""
        samples.ROW.pack_into(self._chunk, self._end, *row)
        self._end += samples.ROW.size
        if self._end == len(self._chunk):
            self._full.append(bytes(self._chunk))
            self._end = 0

    def take(self) -> bytes:
        """The rows since the last call."""
        rows = b"".join([*self._full, memoryview(self._chunk)[: self._end]])
        self._full.clear()
        self._end = 0
        return rows
