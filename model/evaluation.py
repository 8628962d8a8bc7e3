"""Evaluation: what a classifier answers to utterances, and how often that is right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from model.corpus import OUT_OF_SCOPE, Utterance
from model.training import collate

BATCH = 32
CONFUSIONS = 10


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers, 0 to 1: of all utterances, of those in scope, and per intent; and the worst mix-ups."""

    overall: float
    in_scope: float | None
    per_intent: dict[str, float]
    confusions: list[tuple[str, str, int]]


def probabilities_of(classifier: Any, tokenizer: Any, texts: Sequence[str], max_tokens: int) -> torch.Tensor:
    """Return a classifier's probabilities [texts, labels] in double precision, computed in batches of like length."""
    encoded = tokenizer(list(texts), truncation=True, max_length=max_tokens)["input_ids"]
    order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
    rows: list[Any] = [None] * len(encoded)
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            logits = classifier(**collate([encoded[index] for index in chosen], tokenizer.pad_token_id)).logits
            for index, row in zip(chosen, torch.softmax(logits.double(), dim=-1)):
                rows[index] = row
    return torch.stack(rows)


def accuracy_of(predicted: Sequence[str], utterances: Sequence[Utterance]) -> Accuracy:
    """Return how often predictions are the utterances' intents."""
    right: Counter[str] = Counter()
    seen: Counter[str] = Counter(utterance.intent for utterance in utterances)
    mixed: Counter[tuple[str, str]] = Counter()
    for answer, utterance in zip(predicted, utterances):
        if answer == utterance.intent:
            right[answer] += 1
        else:
            mixed[(utterance.intent, answer)] += 1
    in_scope = [intent for intent in seen if intent not in OUT_OF_SCOPE]
    return Accuracy(
        overall=share(right, seen, list(seen)) or 0.0,
        in_scope=share(right, seen, in_scope),
        per_intent={intent: right[intent] / seen[intent] for intent in sorted(seen)},
        confusions=[(intent, answer, count) for (intent, answer), count in mixed.most_common(CONFUSIONS)],
    )


def share(right: Counter[str], seen: Counter[str], intents: Sequence[str]) -> float | None:
    """Return the share of right answers over some intents; None where none of them was seen."""
    total = sum(seen[intent] for intent in intents)
    return sum(right[intent] for intent in intents) / total if total else None
