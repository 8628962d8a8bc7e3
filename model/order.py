"""What to build, and whether it can be. It needs nothing but Python: mistakes are found before an environment is built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model import ROOT, checkpoint
from model.corpus import INTENT, Corpus, read_corpus
from model.problem import UserProblem
from model.recipes import Recipe, find_recipe

DEFAULT_CORPUS = ROOT / "corpus" / "support.tsv"
OTHER_TASKS_CORPUS = ROOT / "corpus" / "assistant.tsv"
MINILM, BERT_BASE = "minilm", "bert-base"


@dataclass(frozen=True)
class Order:
    """What to build: a model's name or folder, for a target by a recipe, from a corpus by a seed, into a store.

    The task is what the model tells of an utterance: its intent, or what the corpus has another column for.
    """

    model: str
    target: str
    recipe: str
    corpus: Path
    seed: int
    store: Path
    epochs: int | None
    task: str = INTENT


def check(order: Order) -> tuple[Recipe, Corpus]:
    """Return the recipe and the corpus of an order. Raises UserProblem where one of its parts is not there or not sound."""
    recipe = find_recipe(order.target, order.recipe)
    if order.epochs is not None and order.model != MINILM:
        raise UserProblem(f"--epochs {order.epochs}: only --model minilm is trained; leave it out")
    if order.model not in (MINILM, BERT_BASE):
        checkpoint.check_folder(Path(order.model))
    return recipe, read_corpus(order.corpus, order.task)


def default_corpus(task: str) -> Path:
    """Return the project's corpus that has a task's labels."""
    return DEFAULT_CORPUS if task == INTENT else OTHER_TASKS_CORPUS


def name_of(order: Order) -> str:
    """Return the model's name: minilm or bert-base, with the name of a corpus of the user's own; or a folder's.

    A model of another task than intent has the task before it.
    """
    task = "" if order.task == INTENT else f"{order.task}-"
    if order.model not in (MINILM, BERT_BASE):
        return f"{task}{Path(order.model).resolve().name}"
    if order.corpus.resolve() == default_corpus(order.task).resolve():
        return f"{task}{order.model}"
    return f"{task}{order.model}-{order.corpus.stem}"
