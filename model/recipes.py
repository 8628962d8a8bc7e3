"""Recipes: how a model is compiled for a target. Values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

from model.problem import UserProblem


@dataclass(frozen=True)
class Recipe:
    """How to compile: padded lengths (None: every input at its own length), precision and engine.

    parity_utterances bounds how many utterances parity is checked on; None means the whole test split.
    """

    name: str
    buckets: tuple[int, ...] | None
    precision: str
    engine: str
    parity_utterances: int | None


TUNED = "tuned"

CPU: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # An utterance has 3 to 50 tokens, and the engines on the CPU take any length: nothing is gained by padding.
        Recipe(TUNED, buckets=None, precision="int8", engine="onnxruntime", parity_utterances=None),
        # For a model that loses too much in int8, or that cannot be exported.
        Recipe("fp32", buckets=None, precision="fp32", engine="torchscript", parity_utterances=None),
        # The baseline: what the published case did. 512 tokens cost tens of times more than the utterance itself.
        Recipe("article", buckets=(512,), precision="fp32", engine="torchscript", parity_utterances=200),
    )
}

TARGETS: dict[str, dict[str, Recipe]] = {"cpu": CPU}


def find_recipe(target: str, name: str) -> Recipe:
    """Return a target's recipe of a name. Raises UserProblem naming those that exist."""
    if target not in TARGETS:
        raise UserProblem(f"--target {target}: no such target; choose one of: {', '.join(TARGETS)}")
    recipes = TARGETS[target]
    if name not in recipes:
        raise UserProblem(f"--recipe {name}: {target} has no such recipe; choose one of: {', '.join(recipes)}")
    return recipes[name]
