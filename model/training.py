"""Training: an encoder and a train split in, a sequence classifier out. The same seed gives the same weights."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from model.corpus import Utterance

BATCHES_WANTED = 850
MIN_EPOCHS, MAX_EPOCHS = 4, 20
STRETCH_BATCHES = 16


@dataclass(frozen=True)
class Hyperparameters:
    """What shapes the weights besides corpus and seed. Rates are per step, for AdamW."""

    epochs: int
    batch: int = 32
    encoder_rate: float = 2e-4
    head_rate: float = 2e-3
    warm_up: float = 0.1
    weight_decay: float = 0.01
    label_smoothing: float = 0.1
    gradient_limit: float = 1.0


def epochs_for(utterances: int, batch: int = 32) -> int:
    """Return how many epochs a corpus gets: about 850 batches' worth, at least 4 and at most 20."""
    batches = math.ceil(utterances / batch)
    return max(MIN_EPOCHS, min(MAX_EPOCHS, round(BATCHES_WANTED / batches)))


def train(classifier: Any, tokenizer: Any, utterances: Sequence[Utterance], settings: Hyperparameters, seed: int) -> None:
    """Train a Hugging Face sequence classifier in place on the CPU; its label2id must know every intent.

    Word embeddings stay as they were pretrained: they are half of a small encoder, most of its words occur in no corpus
    of a few thousand utterances, and updating them takes a third of each step's time.
    """
    classifier.get_input_embeddings().requires_grad_(False)
    examples = encode_examples(tokenizer, utterances, classifier.config.label2id)
    steps = settings.epochs * math.ceil(len(examples) / settings.batch)
    optimizer = torch.optim.AdamW(parameter_groups(classifier, settings))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps, settings.warm_up))
    loss_of = torch.nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    with seeded(seed), progress(steps) as bar:
        classifier.train()
        for batch, targets in batches(examples, settings, seed, tokenizer.pad_token_id):
            loss = loss_of(classifier(**batch).logits, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(classifier.parameters(), settings.gradient_limit)
            optimizer.step()
            schedule.step()
            bar.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
            bar.update()
    classifier.eval()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw all random numbers of a stretch of code from a seed, with deterministic kernels; then restore both."""
    state, deterministic = torch.random.get_rng_state(), torch.are_deterministic_algorithms_enabled()
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic)
        torch.random.set_rng_state(state)


def progress(steps: int) -> Any:
    """Return a progress bar on stderr, which says nothing where that is not a terminal."""
    return tqdm(total=steps, desc="train", unit="batch", disable=not sys.stderr.isatty(), leave=False)


def parameter_groups(classifier: Any, settings: Hyperparameters) -> list[dict[str, Any]]:
    """Return AdamW's groups: a new head learns faster than a pretrained encoder; biases and norms do not decay."""
    groups: dict[tuple[bool, bool], list[Any]] = {}
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            continue
        is_head = not name.startswith(classifier.base_model_prefix) or ".pooler." in name
        groups.setdefault((is_head, parameter.ndim > 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": settings.head_rate if is_head else settings.encoder_rate,
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (is_head, decays), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate's factor at a step: linear up over the warm-up's share, linear down after."""
    rising = max(1, int(steps * warm_up))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


@dataclass(frozen=True)
class Example:
    """One utterance as token ids and its label's number."""

    ids: list[int]
    label: int


def encode_examples(tokenizer: Any, utterances: Sequence[Utterance], labels: dict[str, int]) -> list[Example]:
    """Return the examples of utterances, cut to 64 tokens: longer ones are rare and would pad their whole batch."""
    encoded = tokenizer([utterance.text for utterance in utterances], truncation=True, max_length=64)["input_ids"]
    return [Example(ids, labels[utterance.intent]) for ids, utterance in zip(encoded, utterances)]


def batches(
    examples: Sequence[Example], settings: Hyperparameters, seed: int, pad_id: int | None
) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
    """Yield every epoch's batches: shuffled by the seed, each padded to its own longest example."""
    chance = random.Random(seed)
    for _ in range(settings.epochs):
        for chosen in shuffled_batches(examples, settings.batch, chance):
            yield collate([example.ids for example in chosen], pad_id), torch.tensor([e.label for e in chosen])


def shuffled_batches(examples: Sequence[Example], size: int, chance: random.Random) -> list[list[Example]]:
    """Return one epoch's batches, sorted by length within stretches of 16 of them: that halves the padding."""
    order = list(examples)
    chance.shuffle(order)
    stretch = STRETCH_BATCHES * size
    found = []
    for start in range(0, len(order), stretch):
        near = sorted(order[start : start + stretch], key=lambda example: len(example.ids))
        found += [near[index : index + size] for index in range(0, len(near), size)]
    chance.shuffle(found)
    return found


def collate(rows: Sequence[list[int]], pad_id: int | None) -> dict[str, torch.Tensor]:
    """Return input_ids and attention_mask [rows, longest], int64, padded on the right."""
    longest = max(len(row) for row in rows)
    ids = [row + [pad_id or 0] * (longest - len(row)) for row in rows]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in rows]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}
