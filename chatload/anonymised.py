"""Anonymised: a log written anew with a stand-in for every text, so that it can leave its owner."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from chatload import log_file
from chatload.chat_log import Columns, LogError
from chatload.log_file import Block
from chatload.stand_in import StandIns


@dataclass
class Tally:
    """What was written: rows, and rows left out since they have no text."""

    rows: int = 0
    blank: int = 0


@dataclass
class _Names:
    """Names in place of others, by the order in which these come."""

    prefix: str
    given: dict[int, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        return self.given.setdefault(hash(name), f"{self.prefix}{len(self.given) + 1}") if name.strip() else ""


def write(source: Path, wanted: Columns, out: Path, stand_ins: StandIns, hide_intents: bool) -> Tally:
    """Writes the log ``source`` to ``out`` (.csv, or .tsv as a corpus) with the columns time, session, utterance, intent.

    Times and tokens stay, sessions are numbered, texts get stand-ins; no other column is written. Raises LogError.
    """
    separators = {".csv": ",", ".tsv": "\t"}
    if out.suffix.lower() not in separators:
        raise LogError(f"--anonymise {out}: write a .csv, or a .tsv in the layout of a corpus")
    if out.exists() and out.samefile(source):
        raise LogError(f"--anonymise {out}: that is the log itself; name another file")
    columns, blocks = log_file.blocks(source, wanted)
    if not columns.text:
        raise LogError(f"--anonymise {out}: {source} has no texts; name their column with --text-column")
    tally = Tally()
    try:
        with out.open("w", encoding="utf-8", newline="") as file:
            write_row = _writer(file, separators[out.suffix.lower()])
            roles = {"time": columns.time, "session": columns.session, "utterance": columns.text}
            roles |= {"intent": columns.intent, "tokens": columns.tokens}
            write_row([role for role, name in roles.items() if name])
            for row in _rows(blocks, stand_ins, hide_intents, tally):
                write_row(row)
    except OSError as error:
        raise LogError(f"{out} cannot be written: {error.strerror}") from error
    return tally


def _writer(file: IO[str], separator: str) -> Any:
    if separator == "\t":  # a corpus has no quoting, and a stand-in no tab
        return lambda cells: file.write("\t".join(cells) + "\n")
    return csv.writer(file, lineterminator="\n").writerow


def _rows(blocks: Iterator[Block], stand_ins: StandIns, hide_intents: bool, tally: Tally) -> Iterator[list[str]]:
    sessions, intents = _Names(""), _Names("intent-")
    for block in blocks:
        texts = block.texts or []
        for place, text in enumerate(texts):
            if not text.strip():
                tally.blank += 1
                continue
            tally.rows += 1
            cells = [
                None if block.moments is None else _number(block.moments[place]),
                None if block.sessions is None else sessions.of(block.sessions[place]),
                stand_ins.of(text),
                None if block.intents is None else _intent(block.intents[place], intents, hide_intents),
                None if block.tokens is None else _number(block.tokens[place]),
            ]
            yield [cell for cell in cells if cell is not None]


def _number(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")


def _intent(name: str, intents: _Names, hide: bool) -> str:
    return intents.of(name) if hide else " ".join(name.split())
