"""Corpus file: reads a corpus in the layout that its name's ending says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chatload import corpus, layouts

_RECORDS = {".csv": layouts.csv_records, ".jsonl": layouts.json_lines_records, ".json": layouts.clinc150_records}


def read(name: str) -> list[corpus.Utterance]:
    """The utterances of a corpus file: .csv, .jsonl, .json (CLINC150), .parquet, or else the project's own layout.

    Raises corpus.CorpusError.
    """
    path = Path(name)
    ending = path.suffix.lower()
    try:
        if ending == ".parquet":
            return layouts.utterances(_parquet_records(path), name)
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise corpus.CorpusError(f"corpus {name}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise corpus.CorpusError(f"corpus {name}: cannot be read ({error.strerror or error})") from error
    if ending in _RECORDS:
        return layouts.utterances(_RECORDS[ending](text.lstrip("\ufeff"), name), name)
    return corpus.parse(text, name)


def _parquet_records(path: Path) -> Iterator[layouts.Record]:
    import pyarrow as pa  # here, since only this layout needs it and it weighs on a generator
    from pyarrow import parquet

    try:
        rows = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise corpus.CorpusError(f"corpus {path}: no Parquet ({str(error).splitlines()[0]})") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row
