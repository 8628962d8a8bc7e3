"""Recipes: how a model is compiled for a target. Values, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass

from model.problem import UserProblem


@dataclass(frozen=True)
class Recipe:
    """How to compile: padded lengths (None: every input at its own length), precision, engine, the compiler's arguments.

    parity_utterances bounds how many utterances parity is checked on; None means the whole test split.
    """

    name: str
    buckets: tuple[int, ...] | None
    precision: str
    engine: str
    parity_utterances: int | None
    compiler_args: tuple[str, ...] = ()


TUNED = "tuned"

CPU: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # An utterance has 3 to 50 tokens, and the engines on the CPU take any length: nothing is gained by padding.
        Recipe(TUNED, buckets=None, precision="int8-rows", engine="onnxruntime", parity_utterances=None),
        # Nearer to fp32, and half as fast where both were measured (Emerald Rapids, Zen 3).
        Recipe("blocks", buckets=None, precision="int8-blocks", engine="onnxruntime", parity_utterances=None),
        # For a model that loses too much in int8, or that cannot be exported.
        Recipe("fp32", buckets=None, precision="fp32", engine="torchscript", parity_utterances=None),
        # The baseline: what the published case did. 512 tokens cost tens of times more than the utterance itself.
        Recipe("article", buckets=(512,), precision="fp32", engine="torchscript", parity_utterances=200),
    )
}

# Of the project's utterances 87 % have at most 16 tokens, 94 % at most 32, 98 % at most 64 and all at most 128, special
# tokens included. The 512 are for the customer who writes a letter.
BUCKETS = (16, 32, 64, 128, 512)

INF1: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # neuron-cc computes in bf16 unless told otherwise; -O2 has been its default since 2020.
        Recipe(TUNED, BUCKETS, precision="bf16", engine="torch-neuron", parity_utterances=None),
        # The published recipe to the letter: fp32 in, and whatever neuron-cc makes of it.
        Recipe("article", (512,), "fp32", "torch-neuron", parity_utterances=200, compiler_args=("-O2",)),
    )
}

INF2: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # The casts stand here since their default changed between releases of neuronx-cc.
        Recipe(
            TUNED,
            BUCKETS,
            precision="bf16-matmult",
            engine="torch-neuronx",
            parity_utterances=None,
            compiler_args=("--model-type", "transformer", "--auto-cast", "matmult", "--auto-cast-type", "bf16"),
        ),
        Recipe("article", (512,), "fp32", "torch-neuronx", parity_utterances=200, compiler_args=("--auto-cast", "none")),
    )
}

CUDA: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # At batch size 1 a GPU waits for its launches: a CUDA graph per length launches all kernels at once.
        Recipe(TUNED, BUCKETS, precision="fp16", engine="cuda-graphs", parity_utterances=None),
        Recipe("article", (512,), precision="fp32", engine="torchscript", parity_utterances=200),
    )
}

TARGETS: dict[str, dict[str, Recipe]] = {"cpu": CPU, "cuda": CUDA, "inf1": INF1, "inf2": INF2}


def require_target(target: str) -> None:
    """Raise UserProblem naming the targets unless one has this name."""
    if target not in TARGETS:
        raise UserProblem(f"--target {target}: no such target; choose one of: {', '.join(TARGETS)}")


def find_recipe(target: str, name: str) -> Recipe:
    """Return a target's recipe of a name. Raises UserProblem naming those that exist."""
    require_target(target)
    recipes = TARGETS[target]
    if name not in recipes:
        raise UserProblem(f"--recipe {name}: {target} has no such recipe; choose one of: {', '.join(recipes)}")
    return recipes[name]
