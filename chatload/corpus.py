"""Corpus: the utterances a run draws from.

One plain file format (docs/reference/corpus.md): tab-separated UTF-8 text whose first line names the columns. The model
side has its own reader of the same format: the two sides share data, never code.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

_MOST_SHOWN = 100  # letters of the names of columns
_BLOCK = 512  # choices drawn at a time, see arrivals._BLOCK


class CorpusError(ValueError):
    """A corpus that cannot be read; the message names the file, the line and what would be right."""


@dataclass(frozen=True)
class Utterance:
    """One customer message; ``intent`` is empty where it is not known, ``split`` where the file has none."""

    text: str
    intent: str
    split: str


@dataclass(frozen=True)
class Columns:
    """What the columns of a corpus may be called, in small letters; the first that there is counts."""

    text: tuple[str, ...] = ("utterance", "text", "message", "query", "question", "sentence")
    intent: tuple[str, ...] = ("intent", "label", "category", "class")
    split: tuple[str, ...] = ("split",)


USUAL = Columns()


def named(reference: str) -> tuple[str, Columns]:
    """(file, columns) of such as ``faq.csv`` or ``faq.csv:text=body,intent=topic``; an empty column: there is none.

    Raises CorpusError.
    """
    start = re.search(r":(text|intent|split)=", reference)
    if start is None:
        return reference, USUAL
    chosen: dict[str, tuple[str, ...]] = {}
    for part in reference[start.start() + 1 :].split(","):
        key, _, column = (piece.strip() for piece in part.partition("="))
        if key not in Columns.__dataclass_fields__ or key in chosen or (key == "text" and not column):
            raise CorpusError(f"corpus {reference}: {part!r} is no column: write text=, intent= or split=, each once")
        chosen[key] = (column.lower(),) if column else ()
    return reference[: start.start()], replace(USUAL, **chosen)


def parse(text: str, name: str, wanted: Columns = USUAL) -> list[Utterance]:
    """The utterances in the text of a corpus file called ``name``.

    Raises CorpusError with file and line for a file without an utterance column, a line with too few or too many
    columns, an empty utterance, or no utterance at all.
    """
    lines = enumerate(text.split("\n"), start=1)
    columns = _header(lines, name, wanted)
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


def fingerprint(utterances: Iterable[Utterance]) -> str:
    """What a run replays, in twelve letters: the start of the SHA-256 of its lines, text, tab and intent."""
    digest = hashlib.sha256()
    for utterance in utterances:
        digest.update(f"{utterance.text}\t{utterance.intent}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()[:12]


def draw(count: int, seed: np.random.SeedSequence) -> Iterator[tuple[int, int]]:
    """Endless (index below ``count``, variant 0), each index equally likely and independent."""
    generator = np.random.default_rng(seed)
    blocks = (generator.integers(0, count, size=_BLOCK).tolist() for _ in itertools.repeat(None))
    return zip(itertools.chain.from_iterable(blocks), itertools.repeat(0))


@dataclass(frozen=True)
class _Header:
    count: int
    text: int
    intent: int | None
    split: int | None

    @staticmethod
    def cell(cells: list[str], index: int | None) -> str:
        return "" if index is None else cells[index].strip()


def _header(lines: Iterator[tuple[int, str]], name: str, wanted: Columns) -> _Header:
    for _, line in lines:
        line = line.lstrip("\ufeff").rstrip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        names = [cell.strip().lower() for cell in line.split("\t")]
        check_columns(names, wanted, name)
        text = _find(names, wanted.text)
        assert text is not None
        return _Header(len(names), text, _find(names, wanted.intent), _find(names, wanted.split))
    raise CorpusError(f"{name}: the file is empty: write a line that names the columns, and an utterance a line below it")


def check_columns(names: Collection[str], wanted: Columns, where: str) -> None:
    """Raises CorpusError where none of the columns has utterances, or one that was asked for is not there."""
    found = f"(found: {', '.join(names)[:_MOST_SHOWN]})"
    if not set(wanted.text) & set(names):
        raise CorpusError(
            f"{where}: no column of utterances, called {' or '.join(wanted.text)}; name yours with FILE:text=COLUMN {found}"
        )
    for asked, usual in ((wanted.intent, USUAL.intent), (wanted.split, USUAL.split)):
        if asked and asked != usual and asked[0] not in names:
            raise CorpusError(f"{where}: no column called {asked[0]} {found}")


def _find(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((names.index(name) for name in wanted if name in names), None)


def split_named(name: str) -> str:
    """train, val or test; files with several parts of a split (oos_test) mean the split that the name ends in."""
    value = name.strip().lower()
    return next((split for split in ("train", "val", "test") if value.endswith(split)), value)
