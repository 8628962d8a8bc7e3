"""Mix: how often each utterance is drawn, so that intents and lengths have the shares that are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np

from chatload.corpus import Utterance

CORPUS, UNIFORM = "corpus", "uniform"
_ROUNDS = 5_000
_TOLERANCE = 1e-4  # of a share


class MixError(ValueError):
    """A mix that cannot be drawn; the message says what was asked and what would be right."""


@dataclass(frozen=True)
class Length:
    """A class of lengths: from ``least`` to ``most`` words (``most`` may be infinite), and its weight."""

    least: int
    most: float
    weight: float

    @property
    def name(self) -> str:
        return f"{self.least}-{self.most:g}" if self.most < math.inf else f"{self.least}-"


def parse_intents(text: str) -> dict[str, float]:
    """Weights of intents from such as ``order_status=3;greeting=1``. Raises MixError."""
    weights: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        intent, _, weight = (piece.strip() for piece in part.rpartition("="))
        if intent in weights:
            raise MixError(f"intent {intent!r} is named twice")
        weights[intent] = parse_weight(weight, f"intent {intent!r}")
    return weights


def of_records(records: Iterable[tuple[str, Mapping[str, str]]]) -> dict[str, float]:
    """Weights of intents from the columns ``intent`` and ``weight`` of (where it stands, cells). Raises MixError."""
    weights: dict[str, float] = {}
    for where, row in records:
        cells = {name.strip().lower(): cell.strip() for name, cell in row.items()}
        if not {"intent", "weight"} <= cells.keys():
            raise MixError(f"{where}: a mix has the columns intent and weight (found: {', '.join(cells)})")
        if cells["intent"] in weights:
            raise MixError(f"{where}: intent {cells['intent']!r} is named twice")
        weights[cells["intent"]] = parse_weight(cells["weight"], f"{where}: intent {cells['intent']!r}")
    return weights


def parse_lengths(text: str) -> tuple[Length, ...]:
    """Classes of lengths in words, the shortest first, from such as ``1-4=60,5-10=30,11-=10``. Raises MixError."""
    found = sorted((_length(part.strip()) for part in text.split(",") if part.strip()), key=lambda length: length.least)
    for shorter, longer in zip(found, found[1:], strict=False):
        if longer.least <= shorter.most:
            raise MixError(f"{shorter.name} and {longer.name} overlap: a length belongs to one class")
    return tuple(found)


def _length(part: str) -> Length:
    words, _, weight = (piece.strip() for piece in part.partition("="))
    least, dash, most = (piece.strip() for piece in words.partition("-"))
    if not least.isdecimal() or not (most.isdecimal() or not most):
        raise MixError(f"{part!r} is no class of lengths: write words and weight, such as 1-4=60,5-10=30,11-=10")
    longest = float(most or (math.inf if dash else least))
    found = Length(int(least), longest, parse_weight(weight, words))
    if not 1 <= found.least <= found.most:
        raise MixError(f"{part!r}: no text has so many words; write the smaller number first, from 1 on")
    return found


def parse_weight(text: str, of: str) -> float:
    """A weight above 0. Raises MixError."""
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise MixError(f"{of} has the weight {text!r}: write a number above 0, and leave out what is not to be sent")
    return weight


def weights(
    utterances: Sequence[Utterance], intents: Mapping[str, float] | None, lengths: Sequence[Length]
) -> np.ndarray | None:
    """For each utterance, the share of the messages that it is drawn for; None where all are alike.

    ``intents`` gives the weights of the intents that are to be sent (None: as the corpus has them; the empty name stands for
    utterances without intent), ``lengths`` those of the classes of lengths (empty: as they come). Where both are given, both
    hold: within an intent and a class all utterances are alike. Raises MixError where the corpus cannot give that.
    """
    if intents is not None:
        _check_intents({utterance.intent for utterance in utterances}, intents)
    margins, places = [], []
    if intents is not None:
        number = {intent: place for place, intent in enumerate(intents)}
        margins.append(_Margin("intent", intents))
        places.append([number.get(utterance.intent, -1) for utterance in utterances])
    if lengths:
        margins.append(_Margin("words", {length.name: length.weight for length in lengths}))
        places.append([_class_of(utterance.text, lengths) for utterance in utterances])
    return _raked(margins, np.array(places)) if margins else None


def word_count(text: str) -> int:
    """The length of a text in words: what white space separates."""
    return len(text.split())


def _check_intents(known: set[str], wanted: Mapping[str, float]) -> None:
    if not wanted:
        raise MixError("no intent is named: write intents and weights, such as order_status=3;greeting=1")
    for intent in wanted:
        if intent not in known:
            near = get_close_matches(intent, known, n=1)
            hint = f"; do you mean {near[0]}?" if near else f"; it has {len(known)}, such as {min(known)!r}"
            raise MixError(f"what is replayed of the corpus has no utterance with the intent {intent!r}{hint}")


def _class_of(text: str, lengths: Sequence[Length]) -> int:
    words = word_count(text)
    return next((place for place, length in enumerate(lengths) if length.least <= words <= length.most), -1)


class _Margin:
    """The shares that groups of utterances are to have, all together 1."""

    def __init__(self, what: str, weights: Mapping[str, float]) -> None:
        self.names = [f"{what} {name!r}" for name in weights]
        self.shares = np.array(list(weights.values()), dtype=float)
        self.shares /= self.shares.sum()

    def found(self, place: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """The groups' shares where ``weights`` belong to the groups in ``place``."""
        return np.bincount(place, weights, minlength=len(self.shares))


def _raked(margins: Sequence[_Margin], places: np.ndarray) -> np.ndarray:
    """Weights of utterances with which every margin has its shares; ``places[margin, utterance]`` is a group, -1 for none.

    Iterative proportional fitting (Deming and Stephan 1940) of cells: what is in the same group of every margin.
    """
    sent = np.flatnonzero((places >= 0).all(axis=0))
    cells, cell_of, counts = np.unique(places[:, sent], axis=1, return_inverse=True, return_counts=True)
    for margin, place in zip(margins, cells, strict=True):
        empty = np.flatnonzero(margin.found(place, counts) == 0)
        if len(empty):
            raise MixError(f"no utterance of the corpus that may be sent has {margin.names[empty[0]]}: leave it out")
    found = _fitted(margins, cells, counts / counts.sum())
    weights = np.zeros(places.shape[1])
    weights[sent] = (found / counts)[cell_of.reshape(-1)]
    return weights


def _fitted(margins: Sequence[_Margin], cells: np.ndarray, weights: np.ndarray) -> np.ndarray:
    for _ in range(_ROUNDS):
        for margin, place in zip(margins, cells, strict=True):
            weights = weights * (margin.shares / np.maximum(margin.found(place, weights), 1e-300))[place]
        off = [np.abs(margin.found(place, weights) - margin.shares) for margin, place in zip(margins, cells, strict=True)]
        if max(float(part.max()) for part in off) < _TOLERANCE:
            return weights
    farthest = int(off[0].argmax())  # the last margin has just been fitted
    got = margins[0].found(cells[0], weights)[farthest]
    raise MixError(
        f"the mix and the lengths cannot both be had of this corpus: with these lengths, {margins[0].names[farthest]} "
        f"would be {got:.1%} of the messages in place of {margins[0].shares[farthest]:.1%}; change one of them"
    )
