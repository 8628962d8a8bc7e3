"""Layouts: corpora that others have published: named columns in CSV and JSON Lines, and CLINC150's JSON.

Banking77 is CSV with the columns text and category (Casanueva et al., 2020); CLINC150 is one JSON object of splits,
each a list of [utterance, intent] (Larson et al., 2019). The project's own layout is corpus.parse. Columns have their usual
names, or those that corpus.Columns gives.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from chatload.corpus import USUAL, Columns, CorpusError, Utterance, check_columns, split_named

Record = tuple[str, Mapping[str, Any]]  # where it stands, such as "faq.csv:7", and its cells by column


def csv_records(text: str, name: str) -> Iterator[Record]:
    """The lines of a CSV text, quoted as RFC 4180 says, by the columns that its first line names. Raises CorpusError."""
    reader = csv.DictReader((line + "\n" for line in text.split("\n")), strict=True)
    try:
        for row in reader:
            where = f"{name}:{reader.line_num}"
            if None in row or None in row.values():
                raise CorpusError(f"{where}: not as many cells as the first line names; quote a text that holds a comma")
            yield where, row
    except csv.Error as error:
        raise CorpusError(f"{name}:{reader.reader.line_num}: no CSV ({error})") from error


def tsv_records(text: str, name: str) -> Iterator[Record]:
    """The lines of tab-separated text without quotes, by the columns that its first line names. Raises CorpusError."""
    lines = [(number, line.rstrip("\r")) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    names = lines[0][1].split("\t") if lines else []
    for number, line in lines[1:]:
        cells = line.split("\t")
        if len(cells) != len(names):
            raise CorpusError(f"{name}:{number}: {len(cells)} columns, but the first line names {len(names)}")
        yield f"{name}:{number}", dict(zip(names, cells, strict=True))


def json_lines_records(text: str, name: str) -> Iterator[Record]:
    """The objects of a JSON Lines text, one a line; blank lines are skipped. Raises CorpusError."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            found = _json(line, f"{name}:{number}")
            if not isinstance(found, dict):
                raise CorpusError(f'{name}:{number}: not an object; write one such as {{"text": "hello"}} a line')
            yield f"{name}:{number}", found


def clinc150_records(text: str, name: str) -> Iterator[Record]:
    """The utterances of CLINC150's JSON, with their split. Raises CorpusError."""
    splits = _json(text, name)
    if not isinstance(splits, dict):
        raise CorpusError(f"{name}: not CLINC150's layout, an object of splits; one object a line is called .jsonl")
    for split, pairs in splits.items():
        if not isinstance(pairs, list):
            raise CorpusError(f"{name}: split {split!r} is no list of [utterance, intent]")
        for number, pair in enumerate(pairs, start=1):
            where = f"{name}: number {number} of {split!r}"
            if not isinstance(pair, list) or len(pair) != 2:
                raise CorpusError(f"{where} is not [utterance, intent]")
            yield where, {"text": pair[0], "intent": pair[1], "split": split}


def utterances(records: Iterable[Record], name: str, wanted: Columns = USUAL) -> list[Utterance]:
    """Utterances of records with a column of texts, perhaps of intents and splits. Raises CorpusError."""
    found: list[Utterance] = []
    columns: set[str] = set()
    for where, row in records:
        cells = {str(key).strip().lower(): cell for key, cell in row.items()}
        columns |= cells.keys()
        found.append(_utterance(where, cells, wanted))
    if not found:
        raise CorpusError(f"{name}: no utterance in it")
    check_columns(sorted(columns), wanted, name)
    return found


def _utterance(where: str, cells: Mapping[str, Any], wanted: Columns) -> Utterance:
    text: Any = next((cells[column] for column in wanted.text if column in cells), None)
    if text is None:
        check_columns(list(cells), wanted, where)
    intent, split = (_cell(cells, columns) for columns in (wanted.intent, wanted.split))
    for cell in (text, intent, split):
        if not isinstance(cell, str):
            raise CorpusError(f"{where}: {cell!r} is no text; utterances, intents and splits are written out in text")
    if not text.strip():
        raise CorpusError(f"{where}: the utterance is empty: fill it in or remove it")
    return Utterance(text, intent.strip(), split_named(split))


def _cell(cells: Mapping[str, Any], columns: Iterable[str]) -> Any:
    return next((cells[column] for column in columns if cells.get(column) is not None), "")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CorpusError(f"{where}: no JSON ({error})") from error
