"""The model card: what a checkpoint was made from and how good it is, for people (.md) and for programs (.json)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.corpus import Corpus
from model.evaluation import Accuracy

JSON_NAME = "model-card.json"
TEXT_NAME = "model-card.md"


def card_of(
    name: str, corpus: Corpus, tested_on: str, accuracy: Accuracy, made: dict[str, Any], random: bool
) -> dict[str, Any]:
    """Return the card as plain values; made: fingerprint, task, note, seed, hyperparameters, versions, hashes, time_s."""
    return {
        "name": name,
        "random": random,
        "corpus": {"file": corpus.path.name, "sha256": corpus.sha256, "utterances": corpus.counts(),
                   "intents": len(corpus.intents())},
        "tested_on": tested_on,
        "accuracy": asdict(accuracy),
        **made,
    }  # fmt: skip


def read_card(folder: Path) -> dict[str, Any] | None:
    """Return a folder's card; None where there is none, or half of one after a build that was cut short."""
    try:
        card = json.loads((folder / JSON_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return card if isinstance(card, dict) else None


def write_card(card: dict[str, Any], folder: Path) -> None:
    """Write both forms; the JSON last, since its fingerprint says that the folder is complete."""
    (folder / TEXT_NAME).write_text(text_of(card), encoding="utf-8")
    (folder / JSON_NAME).write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def text_of(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    corpus, accuracy = card["corpus"], card["accuracy"]
    lines = [f"# {card['name']}", ""]
    if card["random"]:
        lines += ["**Random weights: this model's answers mean nothing. It exists to measure time.**", ""]
    if card["note"]:
        lines += [card["note"], ""]
    lines += [
        f"- Task: {card['task']}",
        f"- Corpus: {corpus['file']}, sha256 `{corpus['sha256']}`, {corpus['intents']} intents, utterances: "
        + ", ".join(f"{count} {split}" for split, count in corpus["utterances"].items()),
        f"- Accuracy on {card['tested_on']}: {percent(accuracy['overall'])} overall, "
        f"{percent(accuracy['in_scope'])} in scope",
        f"- Seed: {card['seed']}; made in {card['time_s']:.0f} s",
        "- Hyperparameters: " + (", ".join(f"{k} {v}" for k, v in (card["hyperparameters"] or {}).items()) or "none"),
        "- Versions: " + ", ".join(f"{name} {version}" for name, version in card["versions"].items()),
        f"- Encoder weights sha256: `{card['encoder_sha256']}`",
        f"- Weights sha256: `{card['weights_sha256']}`",
        "",
        *confusion_lines(accuracy["confusions"]),
        "## Accuracy per intent",
        "",
        "| intent | accuracy |",
        "|---|---|",
        *(f"| {intent} | {percent(value)} |" for intent, value in accuracy["per_intent"].items()),
        "",
    ]
    return "\n".join(lines)


def confusion_lines(confusions: list[Any]) -> list[str]:
    """Return the table of the most frequent mix-ups, or nothing where there are none."""
    if not confusions:
        return []
    rows = [f"| {intent} | {answer} | {count} |" for intent, answer, count in confusions]
    return ["## Most frequent confusions", "", "| intent | answered | times |", "|---|---|---|", *rows, ""]


def percent(value: float | None) -> str:
    """Return a share as a percentage with one decimal; "n/a" for None."""
    return "n/a" if value is None else f"{value:.1%}"
