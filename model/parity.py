"""Parity: does the artefact, through the code that will serve it, answer as the fp32 checkpoint does?"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from intent_model import IntentModel

from model.card import percent
from model.checkpoint import labels_of, load_classifier, load_tokenizer, longest_input
from model.corpus import Corpus, Utterance
from model.evaluation import accuracy_of, probabilities_of

AGREEMENT_WANTED = 0.99


@dataclass(frozen=True)
class Parity:
    """How an artefact compares with its reference; shares 0 to 1, None where the corpus has intents of its own."""

    utterances: int
    split: str
    agreement: float
    confidence_change: float
    reference_accuracy: float | None
    artefact_accuracy: float | None

    @property
    def passed(self) -> bool:
        """Tell whether enough answers agree."""
        return self.agreement >= AGREEMENT_WANTED

    def values(self) -> dict[str, Any]:
        """Return the comparison as plain values, for artefact.json."""
        return {**asdict(self), "passed": self.passed}


def model_class(target: str) -> type[IntentModel]:
    """Return the class that a target's handler serves with."""
    return getattr(importlib.import_module(f"intent_{target}"), f"Intent{target.capitalize()}").model_class


def check_parity(checkpoint: Path, artefact: Path, target: str, corpus: Corpus, limit: int | None) -> Parity:
    """Compare over the corpus's test split, or evenly spaced utterances of it where a limit bounds their number.

    The artefact answers through its target's own code, on the target's device. Raises MissingDevice without it.
    """
    utterances, split = corpus.test()
    chosen = evenly(utterances, limit)
    classifier, tokenizer = load_classifier(checkpoint), load_tokenizer(checkpoint)
    labels = labels_of(classifier)
    texts = [utterance.text for utterance in chosen]
    expected = probabilities_of(classifier, tokenizer, texts, longest_input(classifier, tokenizer))
    with one_thread():
        model = model_class(target)(artefact)
        actual = torch.tensor([model.probabilities(model.tokenize(text)) for text in texts], dtype=torch.double)
    return compare(expected, actual, labels, chosen, split)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run on one thread, as a worker does: for one utterance at a time a second one costs more than it brings."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(
    expected: torch.Tensor, actual: torch.Tensor, labels: Sequence[str], utterances: Sequence[Utterance], split: str
) -> Parity:
    """Return how probabilities [utterances, labels] compare."""
    best, answered = expected.argmax(dim=-1), actual.argmax(dim=-1)
    known = {utterance.intent for utterance in utterances} <= set(labels)

    def accuracy(places: torch.Tensor) -> float | None:
        return accuracy_of([labels[place] for place in places.tolist()], utterances).overall if known else None

    return Parity(
        utterances=len(utterances),
        split=split,
        agreement=float((best == answered).double().mean()),
        confidence_change=float((expected - actual).abs().max()),
        reference_accuracy=accuracy(best),
        artefact_accuracy=accuracy(answered),
    )


def evenly(utterances: list[Utterance], limit: int | None) -> list[Utterance]:
    """Return at most `limit` of the utterances, evenly spaced."""
    if limit is None or len(utterances) <= limit:
        return utterances
    return [utterances[index * len(utterances) // limit] for index in range(limit)]


def table(parity: dict[str, Any]) -> str:
    """Return a comparison's values as lines for a terminal."""
    rows: tuple[tuple[str, str], ...] = (
        ("utterances", f"{parity['utterances']} of the split {parity['split']}"),
        ("agreement", f"{parity['agreement']:.2%} ({AGREEMENT_WANTED:.0%} wanted)"),
        ("largest confidence change", f"{parity['confidence_change']:.2g}"),
        ("accuracy of the reference", percent(parity["reference_accuracy"])),
        ("accuracy of the artefact", percent(parity["artefact_accuracy"])),
    )
    return "\n".join(f"         {name:<26} {value}" for name, value in rows)
