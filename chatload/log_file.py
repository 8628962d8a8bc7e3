"""Log file: reads a log of utterances in blocks (CSV, TSV, JSON Lines, Parquet, corpora) and keeps what describes it."""

from __future__ import annotations

import itertools
import json
import re
from array import array
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from chatload import arrival_spec, arrivals, chat_log, corpus, corpus_file, traces
from chatload.chat_log import Columns, Histogram, Log, LogError

_SHIPPED = Path(__file__).resolve().parent.parent / "corpus" / "support.tsv"
_ROWS = 65_536
_MOST_TOKENS = 10_000_000
_TIME_TYPES = (pa.float64(), pa.timestamp("ns"), pa.timestamp("ns", tz="UTC"))
_WANTED = "write epoch seconds or milliseconds, ISO times, or offsets in seconds"


@dataclass(frozen=True)
class Block:
    """Some rows of a log; None for a column that it does not have. ``moments`` are the file's, dates in epoch seconds."""

    moments: np.ndarray | None
    texts: list[str] | None
    intents: list[str] | None
    sessions: list[str] | None
    tokens: np.ndarray | None

    def __len__(self) -> int:
        return max(len(part) for part in (self.moments, self.texts) if part is not None)


def blocks(path: Path, wanted: Columns) -> tuple[Columns, Iterator[Block]]:
    """The columns of a log and its rows in blocks, in the file's order; the kind of file is that of its ending.

    .parquet, .jsonl, .json (CLINC150's), .tsv and .txt (tab-separated, no quoting), and CSV for all others. Raises LogError,
    also while reading.
    """
    ending = path.suffix.lower()
    if ending == ".json":
        return _corpus(path)
    kind = {".parquet": _parquet, ".jsonl": _json_lines}.get(ending, _separated)
    tables = _clearly(kind(path, wanted), path)
    columns = next(tables)
    return columns, _read_on(tables, columns, path)


def _clearly(tables: Iterator[Any], path: Path) -> Iterator[Any]:
    """Turns what the outside world throws into LogError."""
    try:
        yield from tables
    except OSError as error:
        raise LogError(f"log {path}: cannot be read ({error.strerror or str(error).splitlines()[0]})") from error
    except UnicodeDecodeError as error:
        raise LogError(f"log {path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except pa.ArrowException as error:
        raise LogError(f"log {path}: cannot be read ({str(error).splitlines()[0]})") from error


def _parquet(path: Path, wanted: Columns) -> Iterator[Any]:
    with path.open("rb") as raw, parquet.ParquetFile(raw) as file:
        columns = chat_log.choose(file.schema_arrow.names, wanted, str(path))
        yield columns
        yield from file.iter_batches(_ROWS, columns=columns.names)


def _separated(path: Path, wanted: Columns) -> Iterator[Any]:
    head, names, delimiter = _header(path)
    columns = chat_log.choose(names, wanted, str(path))
    yield columns
    reading = arrow_csv.ReadOptions(use_threads=False, block_size=1 << 20, skip_rows=head + 1, column_names=names)
    tabs = _tabs(path)
    parsing = arrow_csv.ParseOptions(
        delimiter=delimiter, quote_char=False if tabs else '"', newlines_in_values=not tabs, ignore_empty_lines=True
    )
    texts = {name: pa.string() for name in columns.names}
    converting = arrow_csv.ConvertOptions(include_columns=columns.names, column_types=texts, strings_can_be_null=False)
    with arrow_csv.open_csv(path, reading, parsing, converting) as reader:
        yield from reader


def _header(path: Path) -> tuple[int, list[str], str]:
    """How many lines come before the one that names the columns, the names, and what separates them."""
    with path.open(encoding="utf-8-sig") as lines:
        found = next(
            ((number, line) for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), None
        )
    if found is None:
        raise LogError(f"log {path}: the file is empty")
    head, line = found
    delimiter = "\t" if _tabs(path) else max(",;\t|", key=line.count)
    names = [name.strip().strip('"') for name in line.rstrip("\r\n").split(delimiter)]
    if all(_is_number(name) for name in names):
        raise LogError(f"log {path}: the first line holds numbers; begin with a line that names the columns, such as 'time'")
    return head, names, delimiter


def _tabs(path: Path) -> bool:
    return path.suffix.lower() in (".tsv", ".txt")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_lines(path: Path, wanted: Columns) -> Iterator[Any]:
    columns = None
    with path.open(encoding="utf-8-sig") as lines:
        records = _records(lines, path)
        while chunk := list(itertools.islice(records, _ROWS)):
            if columns is None:
                columns = chat_log.choose(list(dict.fromkeys(key for row in chunk for key in row)), wanted, str(path))
                yield columns
            yield pa.table({name: pa.array([_text(row.get(name)) for row in chunk]) for name in columns.names})
    if columns is None:
        raise LogError(f"log {path}: the file is empty")


def _records(lines: Iterator[str], path: Path) -> Iterator[dict]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as error:
            raise LogError(f"log {path}:{number}: no JSON ({error})") from error
        if not isinstance(found, dict):
            raise LogError(f'log {path}:{number}: not an object; write one such as {{"time": 0.5, "text": "hello"}} a line')
        yield found


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell)


def _corpus(path: Path) -> tuple[Columns, Iterator[Block]]:
    try:
        found = corpus_file.read(str(path))
    except corpus.CorpusError as error:
        raise LogError(str(error)) from error
    texts, intents = [one.text for one in found], [one.intent for one in found]
    return Columns(text="text", intent="intent"), iter([Block(None, texts, intents, None, None)])


def _read_on(tables: Iterator[Any], columns: Columns, path: Path) -> Iterator[Block]:
    row = 0
    for table in tables:
        if not len(table):
            continue

        def cells(name: str, table: Any = table) -> Any:
            return _whole(table.column(name)) if name else None

        moments = cells(columns.time)
        yield Block(
            None if moments is None else _moments(moments, row, path),
            _texts(cells(columns.text)),
            _texts(cells(columns.intent)),
            _texts(cells(columns.session)),
            _sizes(cells(columns.tokens), columns.tokens, path),
        )
        row += len(table)


def _whole(column: Any) -> Any:
    """A column as one plain array: neither in chunks nor as codes of a dictionary."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _texts(array: Any) -> list[str] | None:
    return None if array is None else array.cast(pa.string()).fill_null("").to_pylist()


def _sizes(array: Any, name: str, path: Path) -> np.ndarray | None:
    """Numbers of tokens; NaN where a row has none."""
    if array is None:
        return None
    if pa.types.is_string(array.type):
        array = pc.replace_with_mask(array, pc.equal(array, "").fill_null(False), pa.scalar(None, pa.string()))
    try:
        sizes = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise LogError(f"log {path}: column {name!r} should hold numbers of tokens ({error})") from error
    told = sizes[~np.isnan(sizes)]
    if ((told < 0) | (told > _MOST_TOKENS)).any():
        raise LogError(f"log {path}: column {name!r} should hold numbers of tokens, from 0 to {_MOST_TOKENS:,}")
    return sizes


def _moments(array: Any, row: int, path: Path) -> np.ndarray:
    found = _converted(array)
    if found is not None and np.isfinite(found).all():
        return found
    number = next(number for number in range(len(array)) if not _is_moment(array.slice(number, 1)))
    cell = array[number].as_py()
    if cell in (None, ""):
        raise LogError(f"log {path}: row {row + number + 1} has no time; remove it")
    raise LogError(f"log {path}: row {row + number + 1}: {str(cell)!r} is no time as in the rows before it; {_WANTED}")


def _is_moment(array: Any) -> bool:
    found = _converted(array)
    return found is not None and bool(np.isfinite(found).all())


def _converted(array: Any) -> np.ndarray | None:
    """Numbers as they are, dates in epoch seconds; None where neither fits all."""
    if pa.types.is_date(array.type) or pa.types.is_timestamp(array.type):
        return _epoch_s(array)
    for kind in _TIME_TYPES:
        try:
            cast = array.cast(kind)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
        return _epoch_s(cast) if pa.types.is_timestamp(kind) else cast.to_numpy(zero_copy_only=False)
    return None


def _epoch_s(array: Any) -> np.ndarray:
    moments = array.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    seconds = moments.astype("datetime64[ns]").astype(np.int64) / 1e9
    return np.where(np.isnat(moments), np.nan, seconds)


def read(path: Path, wanted: Columns) -> Log:
    """What describes a log. Raises LogError."""
    columns, parts = blocks(path, wanted)
    kept = _Kept()
    for part in parts:
        kept.add(part)
    if not kept.rows:
        raise LogError(f"log {path}: no row in it")
    return kept.log(path, columns)


@dataclass
class _Kept:
    """What is kept of the rows so far."""

    rows: int = 0
    blank: int = 0
    conversing: bool = False
    moments: array[float] = field(default_factory=lambda: array("d"))
    texts: array[int] = field(default_factory=lambda: array("q"))
    sessions: array[int] = field(default_factory=lambda: array("q"))
    words: Histogram = field(default_factory=Histogram)
    characters: Histogram = field(default_factory=Histogram)
    tokens: Histogram = field(default_factory=Histogram)
    intents: Counter[str] = field(default_factory=Counter)

    def add(self, part: Block) -> None:
        if part.moments is not None:
            self.moments.frombytes(part.moments.tobytes())
        if part.sessions is not None:
            self.conversing |= any(part.sessions)
            own = enumerate(part.sessions, start=self.rows)  # a row without a session is one of its own
            self.sessions.extend(_marks([name or row for row, name in own]))
        if part.tokens is not None:
            self.tokens.add(part.tokens[~np.isnan(part.tokens)])
        if part.texts is not None:
            own = enumerate(part.texts, start=self.rows)  # a blank text repeats none
            self.texts.extend(_marks([text if text.strip() else row for row, text in own]))
            said = [text for text in part.texts if text.strip()]
            self.blank += len(part.texts) - len(said)
            self.words.add([len(text.split()) for text in said])
            self.characters.add([len(text) for text in said])
        self.intents.update(intent.strip() for intent in part.intents or [] if intent.strip())
        self.rows += len(part)

    def log(self, path: Path, columns: Columns) -> Log:
        moments = _array(self.moments) if self.moments else None
        when = None if moments is None else chat_log.times(moments, str(path))
        unsorted = moments is not None and bool((moments[1:] < moments[:-1]).any())
        order: Any = slice(None) if when is None or when.order is None else when.order
        exact = when is not None and not (unsorted or when.unit or when.tick_s)
        return Log(
            file=str(path),
            columns=columns,
            rows=self.rows,
            times=when,
            sorted_here=unsorted,
            replays=exact and _replays(path, columns.time),
            draws=bool(columns.text) and not self.blank and _draws(path),
            texts=_array(self.texts)[order] if self.texts else None,
            sessions=_array(self.sessions)[order] if self.conversing else None,
            blank=self.blank,
            words=self.words,
            characters=self.characters,
            tokens=self.tokens,
            intents=self.intents,
        )


def _marks(names: Sequence[Hashable]) -> array[int]:
    return array("q", map(hash, names))


def _array(kept: array) -> np.ndarray:
    """The numbers without a copy."""
    return np.frombuffer(kept, dtype=np.dtype(kept.typecode))


def _replays(path: Path, column: str) -> bool:
    """Whether the reader of traces takes the file."""
    try:
        traces.check(arrival_spec.parse(f"trace:file={path},column={column}"))
    except arrivals.ArrivalsError:
        return False
    return True


def _draws(path: Path) -> bool:
    """Whether the readers of corpora take the file; they take CSV with commas and without a comment."""
    return path.suffix.lower() != ".csv" or _header(path)[0::2] == (0, ",")


def write_trace(path: Path, offsets_s: np.ndarray) -> None:
    """A trace for --arrivals trace: CSV with the column time, seconds since the first. Raises LogError."""
    try:
        with path.open("w", encoding="utf-8") as file:
            file.write("time\n")
            for first in range(0, len(offsets_s), _ROWS):
                file.writelines(f"{offset_s:.6f}\n" for offset_s in offsets_s[first : first + _ROWS].tolist())
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error.strerror}") from error


def own_words() -> list[str]:
    """The words of the corpus that ships with the project, for stand-ins: most are one token to any tokenizer of English."""
    text = " ".join(one.text for one in corpus_file.read(str(_SHIPPED)))
    return sorted({word for word in re.findall("[a-z]+", text.lower()) if len(word) > 1})
