"""Corpus file: reads a corpus in the layout that its name's ending says, and how its utterances are to be drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chatload import corpus, layouts, messages, mix, noise
from chatload.settings import Settings

_RECORDS = {".csv": layouts.csv_records, ".jsonl": layouts.json_lines_records, ".json": layouts.clinc150_records}


@dataclass(frozen=True)
class Replayed:
    """What a run replays: the utterances of a corpus' split, and how they are drawn."""

    split: str
    utterances: list[corpus.Utterance]
    drawing: messages.Drawing


def replayed(wanted: Settings) -> Replayed:
    """What a run with these settings replays. Raises corpus.CorpusError or mix.MixError."""
    split, utterances = corpus.choose_split(read(wanted.corpus))
    weights = mix.weights(utterances, _intents(wanted.mix, utterances), mix.parse_lengths(wanted.lengths))
    repeats = noise.parse_share(wanted.repeats) if wanted.repeats else None
    return Replayed(split, utterances, messages.Drawing(weights, noise.parse(wanted.noise), repeats))


def read(reference: str) -> list[corpus.Utterance]:
    """The utterances of a corpus file: .csv, .jsonl, .json (CLINC150), .parquet, or else the project's own layout.

    ``reference`` is the file's name, perhaps with its columns (corpus.named). Raises corpus.CorpusError.
    """
    name, columns = corpus.named(reference)
    path = Path(name)
    ending = path.suffix.lower()
    if ending == ".parquet":
        return layouts.utterances(_parquet_records(path), name, columns)
    text = _text(path)
    if ending in _RECORDS:
        return layouts.utterances(_RECORDS[ending](text, name), name, columns)
    return corpus.parse(text, name, columns)


def _intents(text: str, utterances: Sequence[corpus.Utterance]) -> Mapping[str, float] | None:
    """The weights of intents that a mix names; None: as the corpus has them."""
    if text == mix.CORPUS:
        return None
    if text == mix.UNIFORM:
        return dict.fromkeys((utterance.intent for utterance in utterances), 1.0)
    return mix.parse_intents(text) if "=" in text else read_mix(text)


def read_mix(name: str) -> dict[str, float]:
    """Weights by intent from the columns ``intent`` and ``weight`` of a .csv or .tsv file.

    Raises corpus.CorpusError or mix.MixError.
    """
    path = Path(name)
    records = layouts.csv_records if path.suffix.lower() == ".csv" else layouts.tsv_records
    return mix.of_records(records(_text(path, "mix"), name))


def _text(path: Path, what: str = "corpus") -> str:
    try:
        return path.read_text(encoding="utf-8").lstrip("\ufeff")
    except UnicodeDecodeError as error:
        raise corpus.CorpusError(f"{what} {path}: not UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise corpus.CorpusError(
            f"{what} {path}: cannot be read ({error.strerror or error}); name a file that is there, by --{what}"
        ) from error


def _parquet_records(path: Path) -> Iterator[layouts.Record]:
    import pyarrow as pa  # here, since only this layout needs it and it weighs on a generator
    from pyarrow import parquet

    try:
        rows = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        raise corpus.CorpusError(f"corpus {path}: no Parquet ({str(error).splitlines()[0]})") from error
    except OSError as error:
        raise corpus.CorpusError(f"corpus {path}: cannot be read ({error.strerror or error})") from error
    for number, row in enumerate(rows, start=1):
        yield f"{path}: row {number}", row
