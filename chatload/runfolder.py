"""Run folder: what a run leaves on disk.

While the run goes on: run.json with the header, and parts/ with the corpus, each worker's rows and pulses as they come in,
and each worker's final facts. At the end, finish() folds parts/ into samples.parquet and completes run.json; the same fold
reads the parts of a run that was killed. A report needs this folder and nothing else, so samples.parquet is read as well.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from chatload import calls, noise, run_json, samples
from chatload.corpus import Utterance
from chatload.objective import Estimate

SCHEMA = 1
_FOLD_ROWS = 500_000


class RunFolderError(ValueError):
    """A run folder that cannot be made or read; the message names the folder and what is wrong."""


def create(folder: Path, header: dict, utterances: list[Utterance]) -> None:
    """Makes the folder of a run that starts now. Raises RunFolderError when it holds something already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunFolderError(
            f"results folder {folder} exists and is not empty: name another with --results (make: RESULTS=)"
        )
    try:
        (folder / "parts").mkdir(parents=True)
    except OSError as error:
        raise RunFolderError(f"results folder {folder} cannot be made: {error.strerror}") from error
    rows = [[utterance.text, utterance.intent] for utterance in utterances]
    _write(folder / "parts" / "corpus.json", json.dumps(rows, ensure_ascii=False))
    write_json(folder, header, None, None)


class Parts:
    """Keeps what the generator processes of a running run report, each in files of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "parts"
        self._open: dict[str, BinaryIO] = {}
        self._labels: dict[int, int] = {}

    def append(self, worker: int, rows: bytes, labels: list[str], calls: bytes = b"") -> None:
        """Adds rows of samples, and of calls; on disk (in the kernel's keeping) when this returns, so that a killed process
        loses none of them."""
        if self._labels.get(worker) != len(labels):
            # Before the rows that use them, so that no row on disk has a code without a label.
            _write(self._folder / f"worker-{worker}.labels.json", json.dumps(labels, ensure_ascii=False))
            self._labels[worker] = len(labels)
        self._append(f"worker-{worker}.rows", rows)
        if calls:
            self._append(f"worker-{worker}.calls", calls)

    def beat(self, worker: int, pulse: dict) -> None:
        """Adds a pulse of a worker (generator.Pulse), whose rows up to then have been appended."""
        self._append(f"worker-{worker}.pulses", json.dumps(pulse).encode() + b"\n")

    def end(self, worker: int, facts: dict) -> None:
        """Keeps the final facts of a worker (generator.Facts): it has reported everything."""
        _write(self._folder / f"worker-{worker}.facts.json", json.dumps(facts))

    def _append(self, name: str, data: bytes) -> None:
        if name not in self._open:
            self._open[name] = open(self._folder / name, "ab", buffering=0)  # noqa: SIM115
        self._open[name].write(data)

    def close(self) -> None:
        for file in self._open.values():
            file.close()
        self._open.clear()


@dataclass(frozen=True)
class Rows:
    """All samples of a run: ``rows`` (samples.DTYPE; ``predicted`` indexes ``labels``) with the worker of each."""

    rows: np.ndarray
    worker: np.ndarray
    labels: list[str]
    utterances: list[Utterance]

    def only(self, which: np.ndarray) -> Rows:
        """Those of the samples that a boolean array chooses."""
        return Rows(self.rows[which], self.worker[which], self.labels, self.utterances)

    @property
    def labelled(self) -> np.ndarray:
        """For each row, whether its utterance's intent is known."""
        return np.array([bool(utterance.intent) for utterance in self.utterances])[self.rows["utterance"]]


def no_rows() -> Rows:
    """The samples of a run before it has any."""
    return Rows(np.empty(0, dtype=samples.DTYPE), np.empty(0, dtype=np.int16), [], [])


def joined(first: Rows, then: Rows) -> Rows:
    """Samples of one Tail with those that it gave later."""
    rows, worker = np.concatenate([first.rows, then.rows]), np.concatenate([first.worker, then.worker])
    return Rows(rows, worker, then.labels, then.utterances)


class Tail:
    """Reads the parts of a run as they grow. Every method raises RunFolderError when the parts cannot be read."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / "parts"
        self._read_bytes: dict[Path, int] = {}
        self._labels = _Labels()
        self._codes: dict[Path, np.ndarray] = {}
        with self._readable():
            pairs = json.loads((self._parts / "corpus.json").read_text())
        self.utterances = [Utterance(text, intent, "") for text, intent in pairs]

    @property
    def labels(self) -> list[str]:
        """The labels of the rows read so far."""
        return self._labels.names

    def rows(self) -> Rows:
        """The samples that have come since the last call."""
        rows, worker = self.fresh("rows", samples.DTYPE)
        return Rows(rows, worker, self.labels, self.utterances)

    def fresh(self, kind: str, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """(rows, worker of each) of a kind of file that have come since the last call."""
        pieces, workers = [np.empty(0, dtype=dtype)], [np.empty(0, dtype=np.int16)]
        with self._readable():
            for path in sorted(self._parts.glob(f"worker-*.{kind}")):
                piece = np.frombuffer(self._fresh(path, dtype.itemsize), dtype=dtype).copy()
                self._number(path.with_suffix(".labels.json"), piece)
                pieces.append(piece)
                workers.append(np.full(len(piece), int(path.stem.removeprefix("worker-")), dtype=np.int16))
        return np.concatenate(pieces), np.concatenate(workers)

    def pulses(self) -> list[dict]:
        """The pulses that have come since the last call, those of each worker in order.

        Rows that are read after a pulse hold all that the pulse speaks of.
        """
        with self._readable():
            lines = [line for path in self._parts.glob("worker-*.pulses") for line in self._fresh(path).splitlines()]
            return [json.loads(line) for line in lines]

    @contextlib.contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise RunFolderError(f"run folder {self._folder}: its parts cannot be read ({error})") from error

    def _fresh(self, path: Path, row_bytes: int | None = None) -> bytes:
        """What a file has more than at the last call, up to its last whole row or line."""
        at = self._read_bytes.get(path, 0)
        with open(path, "rb") as file:
            file.seek(at)
            data = file.read()
        whole = len(data) - len(data) % row_bytes if row_bytes else data.rfind(b"\n") + 1
        self._read_bytes[path] = at + whole
        return data[:whole]

    def _number(self, labels: Path, piece: np.ndarray) -> None:
        """Puts the labels' numbers here in place of the worker's own."""
        known = piece["predicted"] != samples.NOT_PREDICTED
        # A worker's labels only become more, and are written before the rows that use them.
        if labels not in self._codes or piece["predicted"].max(initial=-1) >= len(self._codes[labels]):
            self._codes[labels] = self._labels.codes(json.loads(labels.read_text()))
        piece["predicted"][known] = self._codes[labels][piece["predicted"][known]]


def read_parts(folder: Path) -> Rows:
    """The samples of a run that is still in parts. Raises RunFolderError when the parts cannot be read."""
    return Tail(folder).rows()


@dataclass(frozen=True)
class Calls:
    """The calls of all turns of a run: ``rows`` (calls.DTYPE; ``predicted`` indexes ``labels``) with the worker of each."""

    rows: np.ndarray
    worker: np.ndarray
    labels: list[str]


def read_calls(folder: Path) -> Calls:
    """The calls of a run that is still in parts. Raises RunFolderError when they cannot be read."""
    tail = Tail(folder)
    rows, worker = tail.fresh("calls", calls.DTYPE)
    return Calls(rows, worker, tail.labels)


def read_facts(folder: Path) -> list[dict]:
    """The final facts of the workers that reported to the end."""
    return [json.loads(path.read_text()) for path in sorted((folder / "parts").glob("worker-*.facts.json"))]


class _Labels:
    """One numbering for the labels of all workers."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def codes(self, names: list[str]) -> np.ndarray:
        """For each of a worker's codes, the code here."""
        self.names += [name for name in names if name not in self.names]
        return np.array([self.names.index(name) for name in names], dtype=np.int16)


def write_parquet(folder: Path, found: Rows, seed: int) -> None:
    """Writes samples.parquet: one row an arrival, columns named as in docs/reference/run-folder.md.

    ``seed`` is the run's: the texts of variants are made again, a piece of the run at a time.
    """
    import pyarrow as pa
    from pyarrow import parquet

    intents = sorted({utterance.intent for utterance in found.utterances if utterance.intent})
    code_of = {intent: code for code, intent in enumerate(intents)}
    intent_of = np.array([code_of.get(utterance.intent, -1) for utterance in found.utterances], dtype=np.int32)
    writer = None
    for start in range(0, max(len(found.rows), 1), _FOLD_ROWS):
        rows, worker = found.rows[start : start + _FOLD_ROWS], found.worker[start : start + _FOLD_ROWS]
        outcomes, codes = np.unique(rows["outcome"], return_inverse=True)
        texts, text_of = _texts(rows, worker, found.utterances, seed)
        columns: dict[str, Any] = {
            **{name: pa.array(rows[name], from_pandas=True) for name in ("intended_s", "sent_s", "done_s")},
            "outcome": _words(codes, [samples.outcome_name(code) for code in outcomes]),
            "utterance": _words(text_of, texts),
            "intent": _words(intent_of[rows["utterance"]], intents),
            "predicted": _words(rows["predicted"], found.labels),
            **{name: pa.array(rows[name], from_pandas=True) for name in ("tokenize_ms", "infer_ms")},
            "bytes": pa.array(rows["bytes"]),
            "tokens": pa.array(rows["tokens"], mask=rows["tokens"] == 0),
            "session": pa.array(rows["session"], mask=rows["turn"] == 0),
            "turn": pa.array(rows["turn"], mask=rows["turn"] == 0),
            "held_s": pa.array(rows["held_s"]),
            "worker": pa.array(worker),
        }
        table = pa.table(columns)
        writer = writer or parquet.ParquetWriter(folder / "samples.parquet.new", table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()
    os.replace(folder / "samples.parquet.new", folder / "samples.parquet")


def _texts(rows: np.ndarray, worker: np.ndarray, utterances: list[Utterance], seed: int) -> tuple[list[str], np.ndarray]:
    """(texts, code of each row) of what was sent: the corpus, and behind it the variants of these rows."""
    texts, text_of = [utterance.text for utterance in utterances], rows["utterance"].astype(np.int32)
    varied = np.flatnonzero(rows["variant"])
    # A process gives each message that is not a repeat a number of its own.
    messages = worker[varied].astype(np.uint64) << np.uint64(32) | rows["variant"][varied]
    _, first, code = np.unique(messages, return_index=True, return_inverse=True)
    text_of[varied] = len(texts) + code
    places = varied[first]
    made = zip(*(column[places].tolist() for column in (rows["utterance"], rows["variant"], worker)), strict=True)
    return texts + [noise.vary(texts[utterance], variant, seed, process) for utterance, variant, process in made], text_of


def write_calls(folder: Path, found: Calls, names: Sequence[str]) -> None:
    """Writes calls.parquet: one row a call, columns named as in docs/reference/run-folder.md; names are the calls'."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = found.rows
    outcomes, codes = np.unique(rows["outcome"], return_inverse=True)
    table = pa.table(
        {
            "worker": pa.array(found.worker),
            **{name: pa.array(rows[name]) for name in ("arrival", "arrival_s")},
            "call": _words(rows["call"], list(names)),
            **{name: pa.array(rows[name], from_pandas=True) for name in ("intended_s", "sent_s", "done_s")},
            "outcome": _words(codes, [samples.outcome_name(int(code)) for code in outcomes]),
            "predicted": _words(rows["predicted"], found.labels),
            **{name: pa.array(rows[name], from_pandas=True) for name in ("tokenize_ms", "infer_ms")},
            "critical": pa.array(rows["critical"]),
        }
    )
    parquet.write_table(table, folder / "calls.parquet.new", compression="zstd")
    os.replace(folder / "calls.parquet.new", folder / "calls.parquet")


def _words(codes: np.ndarray, names: list[str]) -> Any:
    """Arrow's column of words from their codes; a code below 0 is null."""
    import pyarrow as pa

    values = pa.array(codes.astype(np.int32), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(values, pa.array(names, pa.string()))


def read_parquet(folder: Path) -> Rows:
    """The samples of a finished run. Raises RunFolderError when samples.parquet is missing, damaged or of another form."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / "samples.parquet"
    try:
        table = parquet.read_table(path, memory_map=True).unify_dictionaries()
        return _rows_of(table)
    except FileNotFoundError as error:
        raise RunFolderError(f"{folder} has no samples.parquet: copy the whole folder of the run") from error
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise RunFolderError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error


def _rows_of(table: Any) -> Rows:
    """Rows from a table with the columns of write_parquet; an utterance is a pair of text and intent that occurs."""
    texts, text_of = _decode(table, "utterance")
    intents, intent_of = _decode(table, "intent")
    outcomes, outcome_of = _decode(table, "outcome")
    labels, predicted = _decode(table, "predicted")
    pairs, utterance = np.unique(text_of.astype(np.int64) * (len(intents) + 1) + intent_of + 1, return_inverse=True)
    places = [divmod(int(pair), len(intents) + 1) for pair in pairs]
    rows = np.zeros(table.num_rows, dtype=samples.DTYPE)  # variant stays 0: the texts are those that were sent
    for name in ("intended_s", "sent_s", "done_s", "tokenize_ms", "infer_ms", "bytes"):
        rows[name] = table.column(name).to_numpy()  # null becomes NaN
    for name in {"tokens", "session", "turn", "held_s"} & set(table.column_names):  # earlier runs have none of them
        rows[name] = table.column(name).fill_null(0).to_numpy()
    rows["utterance"] = utterance
    rows["predicted"] = predicted
    rows["outcome"] = np.array([samples.outcome_code(name) for name in outcomes], dtype=np.int16)[outcome_of]
    utterances = [Utterance(texts[text], intents[intent - 1] if intent else "", "") for text, intent in places]
    return Rows(rows, table.column("worker").to_numpy(), labels, utterances)


def _decode(table: Any, column: str) -> tuple[list[str], np.ndarray]:
    """(words, code of each row) of a column of words; the code of a null is -1."""
    array = table.column(column).combine_chunks()
    if not len(array):
        return [], np.empty(0, dtype=np.int32)
    return array.dictionary.to_pylist(), array.indices.fill_null(-1).to_numpy().astype(np.int32)


def remove_parts(folder: Path) -> None:
    """To be called when run.json and samples.parquet hold all that the parts held."""
    shutil.rmtree(folder / "parts")


def in_parts(folder: Path) -> bool:
    """Whether the run was never finished: it still goes on, or its process was killed."""
    return (folder / "parts").is_dir()


def write_json(folder: Path, header: dict, summary: dict | None, verdict: dict | None) -> None:
    """Writes run.json; summary and verdict are None until the run is finished."""
    content = {"schema": SCHEMA, "run": header, "summary": plain(summary), "verdict": verdict}
    _write(folder / "run.json", json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(folder: Path, name: str, text: str) -> None:
    """Writes one of the folder's texts. Raises RunFolderError when the folder cannot be written to."""
    try:
        _write(folder / name, text)
    except OSError as error:
        raise RunFolderError(f"{folder / name} cannot be written ({error.strerror})") from error


def read_finished(folder: Path) -> dict:
    """The content of run.json of a finished run, with all that reports need of it. Raises RunFolderError."""
    content = read_json(folder)
    try:
        run_json.check(content)
    except run_json.DamagedError as error:
        raise RunFolderError(f"{folder / 'run.json'} is damaged or of another version of chatload ({error})") from error
    return content


def read_json(folder: Path) -> dict:
    """The content of run.json. Raises RunFolderError when the folder holds no run of this schema."""
    path = folder / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunFolderError(f"{folder} is not a run's folder: it has no run.json") from error
    except NotADirectoryError as error:
        raise RunFolderError(f"{folder} is no folder: name that of a run") from error
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} cannot be read ({error})") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise RunFolderError(f"{path} has schema {schema!r}, this version of chatload reads schema {SCHEMA}")
    return content


def plain(value: Any) -> Any:
    """JSON's form of a summary: Estimates become objects; what is infinite or unknown becomes null."""
    if isinstance(value, Estimate):
        return {"value": plain(value.value), "low": plain(value.low), "high": plain(value.high)}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _write(path: Path, text: str) -> None:
    """Replaces a file in one step, so that a killed process leaves the old text or the new one, never half of it."""
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
