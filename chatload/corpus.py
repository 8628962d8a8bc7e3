"""Corpus: the utterances a run draws from.

One plain file format (docs/reference/corpus.md): tab-separated UTF-8 text whose first line names the columns. The model
side has its own reader of the same format: the two sides share data, never code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_TEXT_COLUMNS = ("utterance", "text")
_INTENT_COLUMNS = ("intent", "label")
_BLOCK = 512  # choices drawn at a time, see arrivals._BLOCK


class CorpusError(ValueError):
    """A corpus that cannot be read; the message names the file, the line and what would be right."""


@dataclass(frozen=True)
class Utterance:
    """One customer message; ``intent`` is empty where it is not known, ``split`` where the file has none."""

    text: str
    intent: str
    split: str


def parse(text: str, name: str) -> list[Utterance]:
    """The utterances in the text of a corpus file called ``name``.

    Raises CorpusError with file and line for a file without an utterance column, a line with too few or too many
    columns, an empty utterance, or no utterance at all.
    """
    lines = enumerate(text.split("\n"), start=1)
    columns = _header(lines, name)
    found = []
    for number, line in lines:
        line = line.rstrip("\r")
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != columns.count:
            raise CorpusError(f"{name}:{number}: {len(cells)} columns, but the first line names {columns.count}")
        utterance = Utterance(
            cells[columns.text], columns.cell(cells, columns.intent), split_named(columns.cell(cells, columns.split))
        )
        if not utterance.text.strip():
            raise CorpusError(f"{name}:{number}: the utterance is empty: fill it in or remove the line")
        found.append(utterance)
    if not found:
        raise CorpusError(f"{name}: no utterance in it: write one a line below the line that names the columns")
    return found


def choose_split(utterances: list[Utterance]) -> tuple[str, list[Utterance]]:
    """The part of a corpus that a run replays: its test split where there is one (a model has not seen it), else all."""
    test = [utterance for utterance in utterances if utterance.split == "test"]
    return ("test", test) if test else ("all", utterances)


def draw(count: int, seed: np.random.SeedSequence) -> Iterator[tuple[int, int]]:
    """Endless (index below ``count``, variant 0), each index equally likely and independent."""
    generator = np.random.default_rng(seed)
    while True:
        yield from ((index, 0) for index in generator.integers(0, count, size=_BLOCK).tolist())


@dataclass(frozen=True)
class _Columns:
    count: int
    text: int
    intent: int | None
    split: int | None

    @staticmethod
    def cell(cells: list[str], index: int | None) -> str:
        return "" if index is None else cells[index].strip()


def _header(lines: Iterator[tuple[int, str]], name: str) -> _Columns:
    for _, line in lines:
        line = line.lstrip("\ufeff").rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        names = [cell.strip().lower() for cell in line.split("\t")]
        text, intent = _find(names, _TEXT_COLUMNS), _find(names, _INTENT_COLUMNS)
        if text is None:
            raise CorpusError(f"{name}: the first line must name the columns (tab-separated), one of them 'utterance'")
        return _Columns(len(names), text, intent, _find(names, ("split",)))
    raise CorpusError(f"{name}: the file is empty")


def _find(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def split_named(name: str) -> str:
    """train, val or test; files with several parts of a split (oos_test) mean the split that the name ends in."""
    value = name.strip().lower()
    return next((split for split in ("train", "val", "test") if value.endswith(split)), value)
