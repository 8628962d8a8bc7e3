"""Traces: timetables made of files: moments of arrivals in a column of CSV or Parquet, and rate profiles."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chatload import cost, prices, timetable
from chatload.arrival_spec import Spec
from chatload.arrivals import ArrivalsError

_COLUMNS = ("timestamp", "time", "ts", "intended_s")
_ROWS = 65_536
_ITEM = np.dtype(np.float64).itemsize


def plan(spec: Spec, rate: float, run_seed: int, before_s: float = 0.0) -> Iterator[np.ndarray]:
    """The timetable of a process at a mean ``rate``, in blocks. Raises ArrivalsError.

    A profile is begun ``before_s`` seconds before its start. A trace has a rate of its own; a mistake in its file may show
    only where it is reached.
    """
    seed, numbers = timetable.seed(run_seed), spec.numbers
    if spec.name == "poisson":
        return timetable.gamma(rate, 1.0, seed)
    if spec.name == "constant":
        return timetable.constant(rate, seed)
    if spec.name == "gamma":
        return timetable.gamma(rate, numbers["cv"], seed)
    if spec.name == "onoff":
        return timetable.onoff(rate, numbers["peak"], numbers["on"], numbers["off"], seed)
    speed, start_s, path = numbers["speed"], numbers["start"], Path(spec.texts["file"])
    if spec.name == "profile":
        return timetable.profile(rate, _weights(path), numbers["span"] / speed, start_s / speed - before_s, seed)
    offsets = _offsets(path, spec.texts["column"])
    return timetable.trace(offsets, speed, numbers["scale"], start_s, numbers["end"], seed)


def part(spec: Spec, rate: float, run_seed: int, dealt: tuple[int, int], end_s: float) -> Iterator[np.ndarray]:
    """One generator process's arrivals before ``end_s``: part number dealt[0] of dealt[1]. Raises ArrivalsError.

    What comes from a trace is read and checked to its end now and kept in a file, so that playing it is cheap.
    """
    blocks = timetable.deal(timetable.until(plan(spec, rate, run_seed), end_s), *dealt)
    return spooled(blocks) if spec.name == "trace" else blocks


def mean_rate(spec: Spec, rate: float, run_seed: int, end_s: float) -> float:
    """Arrivals per second in the timetable of a run to ``end_s``; ``rate`` where it has none. Raises ArrivalsError.

    ``end_s`` is 0 for a run without a planned end: then a trace has its own.
    """
    if not spec.dealt or not (end_s or spec.name == "trace"):
        return rate
    count, last_s = 0, 0.0
    for block in timetable.until(plan(spec, rate, run_seed), end_s or float("inf")):
        count += len(block)
        last_s = float(block[-1]) if len(block) else last_s
    if not count and spec.name == "trace":
        raise ArrivalsError(f"trace {spec.texts['file']}: no arrival in the part of it that this run plays")
    return count / (end_s or last_s or 1.0)


def check(spec: Spec) -> None:
    """Refuses a file that cannot be read, by its first arrivals. Raises ArrivalsError."""
    if spec.dealt and next(plan(spec, 1.0, 0), None) is None:
        raise ArrivalsError(f"trace {spec.texts['file']}: no arrival in the part of it that start and end leave")


def _weights(path: Path) -> list[float]:
    try:
        return prices.read_day(path)
    except cost.CostError as error:
        raise ArrivalsError(f"profile {error}") from error


def spooled(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The same times, all taken now and kept in a file."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its reader
    for block in blocks:
        spool.write(block.tobytes())
    spool.seek(0)

    def read() -> Iterator[np.ndarray]:
        with spool:
            while data := spool.read(timetable.BLOCK * _ITEM):
                yield np.frombuffer(data)

    return read()


def _offsets(path: Path, column: str) -> Iterator[np.ndarray]:
    """Seconds since the first row, in blocks. Raises ArrivalsError for a file that cannot be read or is out of order."""
    import pyarrow as pa  # here, since only a trace needs it and it weighs on a generator

    first, row, last_s = None, 0, 0.0
    try:
        for values in _columns(path, column):
            moments = _moments(values, path)
            if not len(moments):
                continue
            first = moments[0] if first is None else first
            block = (moments - first) / (np.timedelta64(1, "s") if moments.dtype.kind == "M" else 1.0)
            late = np.flatnonzero(np.diff(block, prepend=last_s) < 0)
            if len(late):
                raise ArrivalsError(
                    f"trace {path}: row {row + late[0] + 1} is earlier than the one before it; sort the file"
                )
            row, last_s = row + len(block), float(block[-1])
            yield block
    except (OSError, pa.ArrowException) as error:
        raise ArrivalsError(f"trace {path}: cannot be read ({str(error).splitlines()[0]})") from error


def _moments(values: Any, path: Path) -> np.ndarray:
    """Numbers as float64 seconds, times as datetime64 in nanoseconds."""
    import pyarrow as pa

    kind = values.type
    if values.null_count:
        raise ArrivalsError(f"trace {path}: a row has no time; remove it")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return values.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        moments = values.to_numpy(zero_copy_only=False).astype(np.float64)
        if np.isfinite(moments).all():
            return moments
    raise ArrivalsError(f"trace {path}: holds what is no time; write epoch seconds, ISO times or offsets in seconds")


def _columns(path: Path, column: str) -> Iterator[Any]:
    """The blocks of a trace's column, Arrow arrays."""
    if path.suffix == ".parquet":
        from pyarrow import parquet

        with parquet.ParquetFile(path) as file:
            name = _choose(column, file.schema_arrow.names, path)
            for batch in file.iter_batches(_ROWS, columns=[name]):
                yield batch.column(0)
        return
    from pyarrow import csv

    # Threads would read ahead and large blocks stay in Arrow's pool: 90 MB of memory with these, 125 without.
    reading = csv.ReadOptions(use_threads=False, block_size=1 << 18)
    with csv.open_csv(path, reading) as head:
        name = _choose(column, head.schema.names, path)
        kind = _wide(head.schema.field(name).type)
    options = csv.ConvertOptions(include_columns=[name], column_types={name: kind})
    with csv.open_csv(path, reading, convert_options=options) as reader:
        for batch in reader:
            yield batch.column(0)


def _wide(kind: Any) -> Any:
    """The type of a whole column whose first rows have a type: later ones may have more digits."""
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.timestamp("ns", tz=kind.tz)
    return pa.float64() if pa.types.is_integer(kind) else kind


def _choose(column: str, names: list[str], path: Path) -> str:
    found = [name for name in names if (name == column if column else name.lower() in _COLUMNS)]
    if not found:
        wanted = f"no column {column!r}" if column else "no column called " + ", ".join(_COLUMNS)
        raise ArrivalsError(f"trace {path}: {wanted}; name one with column=: it has {', '.join(names)}")
    return found[0]
