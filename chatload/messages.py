"""Messages: what a generator process sends, in order: each message an utterance and a variant (chatload.noise)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from chatload import corpus, noise
from chatload.arrivals import Seeds

RECENT = 1_000  # messages among which a repeat finds what it repeats
_BLOCK = 512  # as in corpus.draw


@dataclass(frozen=True)
class Drawing:
    """How messages are drawn from a corpus.

    ``weights`` gives each utterance's share (None: all alike), ``repeats`` the share of messages that repeat an earlier one
    exactly, while no other message does (None: as drawing gives).
    """

    weights: np.ndarray | None = None
    noise: noise.Noise = noise.Noise()
    repeats: float | None = None


def draw(texts: Sequence[str], drawing: Drawing, seeds: Seeds, worker: int) -> Iterator[tuple[int, int]]:
    """Endless (index of an utterance in ``texts``, variant) for generator process number ``worker``."""
    if drawing.weights is None and drawing.noise == noise.Noise() and drawing.repeats is None:
        return corpus.draw(len(texts), seeds.utterances)
    indices = _indices(len(texts), drawing.weights, seeds.utterances)
    drawn = zip(indices, _kinds(drawing.noise, seeds.noise), strict=False)
    if drawing.repeats is None:
        return _numbered(drawn)
    # Processes do not know what the others have sent, so one of them sends the corpus as it stands.
    unsent = {text for text in texts if not noise.has_reference(text)} if worker == 0 else set()
    return _repeating(_numbered(_never_sent(drawn, texts, unsent)), drawing.repeats, seeds.repeats)


def repeated(rows: np.ndarray, worker: np.ndarray, texts: Sequence[str]) -> np.ndarray:
    """For each row (samples.DTYPE) of a run, sent by process ``worker``, whether its text had come before in the run."""
    place = {text: number for number, text in enumerate(texts)}
    same = np.array([place[text] for text in texts], dtype=np.uint64)[rows["utterance"]]
    varied = worker.astype(np.uint64) + np.uint64(1) << np.uint64(32) | rows["variant"]
    message = np.where(rows["variant"] > 0, varied, same)
    order = np.argsort(rows["intended_s"], kind="stable")
    found = np.ones(len(rows), dtype=bool)
    found[order[np.unique(message[order], return_index=True)[1]]] = False
    return found


def _indices(count: int, weights: np.ndarray | None, seed: np.random.SeedSequence) -> Iterator[int]:
    """Endless indices below ``count``, independent, by weight; without weights those of corpus.draw."""
    if weights is None:
        yield from (index for index, _ in corpus.draw(count, seed))
        return
    generator = np.random.default_rng(seed)
    shares = np.cumsum(weights)
    shares /= shares[-1]
    while True:
        yield from np.searchsorted(shares, generator.random(_BLOCK), side="right").tolist()


def _kinds(wanted: noise.Noise, seed: np.random.SeedSequence) -> Iterator[int]:
    """Endless sums of noise's kinds, each kind in its share of messages, independently."""
    generator = np.random.default_rng(seed)
    shares = np.array([wanted.typos, wanted.case, wanted.punctuation])
    kinds = np.array([noise.TYPOS, noise.CASE, noise.PUNCTUATION])
    while True:
        yield from ((generator.random((_BLOCK, len(kinds))) < shares) @ kinds).tolist()


def _never_sent(drawn: Iterator[tuple[int, int]], texts: Sequence[str], unsent: set[str]) -> Iterator[tuple[int, int]]:
    """The same with a reference, but for texts of ``unsent`` that come as they stand for the first time."""
    for index, kinds in drawn:
        if not kinds and texts[index] in unsent:
            unsent.remove(texts[index])
            yield index, 0
        else:
            yield index, kinds | noise.REFERENCE


def _numbered(drawn: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(index, variant) from (index, kinds): the variants have serial numbers."""
    serial = 0
    for index, kinds in drawn:
        if kinds:
            yield index, noise.variant(kinds, serial)
            serial = (serial + 1) % noise.SERIALS
        else:
            yield index, 0


def _repeating(fresh: Iterator[tuple[int, int]], share: float, seed: np.random.SeedSequence) -> Iterator[tuple[int, int]]:
    """Messages of which ``share`` repeat one of the RECENT before, each of those as likely; the others are ``fresh``."""
    generator = np.random.default_rng(seed)
    recent: deque[tuple[int, int]] = deque(maxlen=RECENT)
    while True:
        for chance, place in generator.random((_BLOCK, 2)).tolist():
            repeats = bool(recent) and chance < share
            message = recent[int(place * len(recent))] if repeats else next(fresh)
            recent.append(message)
            yield message
