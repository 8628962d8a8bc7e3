"""The corpus: utterances with their intents, read from a TSV file (docs/reference/corpus.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from model.problem import UserProblem

SPLITS = ("train", "val", "test")
TEXT_NAMES = ("utterance", "text")
# What a model tells of an utterance, where no other task is named.
INTENT = "intent"
INTENT_NAMES = (INTENT, "label")
OUT_OF_SCOPE = ("oos", "out_of_scope")
TEST_STAND_IN = 500


@dataclass(frozen=True)
class Utterance:
    """One customer message with its label, by default its intent, and the split it belongs to: train, val or test."""

    text: str
    intent: str
    split: str


@dataclass(frozen=True)
class Corpus:
    """The utterances of one file, in file order, and the sha256 of its bytes."""

    path: Path
    sha256: str
    utterances: tuple[Utterance, ...]

    def split(self, name: str) -> list[Utterance]:
        """Return the utterances of a split."""
        return [utterance for utterance in self.utterances if utterance.split == name]

    def intents(self) -> list[str]:
        """Return the intents of the whole corpus, sorted: the order of a model's labels."""
        return sorted({utterance.intent for utterance in self.utterances})

    def test(self) -> tuple[list[Utterance], str]:
        """Return what to test on, and its name: the test split, or the first 500 of train where there is none."""
        held_out = self.split("test")
        if held_out:
            return held_out, "test"
        return self.split("train")[:TEST_STAND_IN], f"train (first {TEST_STAND_IN}: no test split)"

    def counts(self) -> dict[str, int]:
        """Return how many utterances each split holds."""
        return {name: len(self.split(name)) for name in SPLITS}


@dataclass(frozen=True)
class Columns:
    """Where a line keeps its text, its intent and, where the file has one, its split."""

    text: int
    intent: int
    split: int | None
    count: int


def read_corpus(path: Path, task: str = INTENT) -> Corpus:
    """Return the corpus of a file with the labels of a task. Raises UserProblem naming the file and the line.

    The labels of another task than intent stand in the column of its name; utterances without one are left out.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserProblem(f"{path}: cannot read the corpus: {error.strerror}; name a TSV file with --corpus") from error
    rows = content.split(b"\n")
    head = header_row(rows, path)
    columns = columns_of(text_of(rows[head], path, head), task, path, head)
    lines = ((row, text_of(rows[row], path, row)) for row in range(head + 1, len(rows)))
    cells = ((row, cells_of(line, columns, path, row)) for row, line in lines if line.strip())
    utterances = [
        utterance_of(values, columns, path, row) for row, values in cells if task == INTENT or values[columns.intent].strip()
    ]
    if not any(utterance.split == "train" for utterance in utterances):
        raise UserProblem(f"{path}:{len(rows)}: no utterance is in the split train; add some, or drop the split column")
    return Corpus(path, hashlib.sha256(content).hexdigest(), tuple(utterances))


def header_row(rows: list[bytes], path: Path) -> int:
    """Return the index of the header: the first line that is neither blank nor a comment."""
    for row, line in enumerate(rows):
        if line.strip() and not line.startswith(b"#"):
            return row
    raise UserProblem(f"{path}:1: the file is empty; its first line must name the columns: utterance, intent, split")


def text_of(line: bytes, path: Path, row: int) -> str:
    """Return a line as text; a byte order mark at the start of the file is dropped."""
    try:
        return line.decode("utf-8-sig" if row == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise UserProblem(f"{path}:{row + 1}: byte {error.start} is not UTF-8; save the file as UTF-8") from error


def columns_of(header: str, task: str, path: Path, row: int) -> Columns:
    """Return where the columns of a task are. Their order is free; columns of other names are ignored."""
    names = [name.strip().lower() for name in header.rstrip("\r").split("\t")]

    def place(wanted: tuple[str, ...]) -> int | None:
        found = [index for index, name in enumerate(names) if name in wanted]
        if len(found) > 1:
            raise UserProblem(f"{path}:{row + 1}: the header names {' or '.join(wanted)} twice; keep one")
        return found[0] if found else None

    label_names = INTENT_NAMES if task == INTENT else (task,)
    text, intent = place(TEXT_NAMES), place(label_names)
    if text is None or intent is None:
        missing = " or ".join(TEXT_NAMES if text is None else label_names)
        found = ", ".join(names)
        raise UserProblem(f"{path}:{row + 1}: the header names no column {missing}, only {found}; tabs separate columns")
    return Columns(text, intent, place(("split",)), len(names))


def cells_of(line: str, columns: Columns, path: Path, row: int) -> list[str]:
    """Return the cells of one line, as many as the header has."""
    cells = line.rstrip("\r").split("\t")
    if len(cells) != columns.count:
        raise UserProblem(f"{path}:{row + 1}: {len(cells)} columns where the header names {columns.count}; separate by tabs")
    return cells


def utterance_of(cells: list[str], columns: Columns, path: Path, row: int) -> Utterance:
    """Return the utterance of one line's cells."""
    where = f"{path}:{row + 1}"
    text, intent = cells[columns.text], cells[columns.intent].strip()
    if not text.strip() or not intent:
        raise UserProblem(f"{where}: the {'intent' if text.strip() else 'utterance'} is empty; fill it in or drop the line")
    split = "train" if columns.split is None else split_of(cells[columns.split].strip(), where)
    return Utterance(text, intent, split)


def split_of(value: str, where: str) -> str:
    """Return the split that a cell names: its ending counts, so that oos_train is train."""
    for name in SPLITS:
        if value.endswith(name):
            return name
    raise UserProblem(f'{where}: split "{value}" ends in none of train, val, test; correct it')
