"""The artefact: a compiled model as the handlers load it: artefact.json, tokenizer.json, model.pt."""

from __future__ import annotations

import inspect
import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch
from cpu_model import ONNX_RUNTIME

from model import cuda, neuron
from model.buckets import fitting
from model.checkpoint import labels_of, load_classifier, load_tokenizer, longest_input
from model.int8 import compile_int8
from model.layout import ARTEFACT_JSON, GRAPH, TOKENIZER, artefact_files
from model.problem import BuildProblem
from model.recipes import Recipe

TRACE_LENGTH = 16
PROBE_LENGTHS = (3, 7, 16, 33, 64, 129)
TOLERANCE = 1e-3
COMPILERS = {"inf1": neuron.compile_buckets, "inf2": neuron.compile_buckets, "cuda": cuda.compile_graph}


class Graph(torch.nn.Module):
    """A classifier as the contract between artefact and handler: three int64 [1, n] in, logits [1, labels] out."""

    def __init__(self, classifier: Any) -> None:
        super().__init__()
        self.classifier = classifier
        self.wants_types = "token_type_ids" in inspect.signature(classifier.forward).parameters

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Return logits [1, labels]; DistilBERT and its like take no token types, so theirs are left out."""
        extra = {"token_type_ids": types} if self.wants_types else {}
        return self.classifier(input_ids=ids, attention_mask=mask, return_dict=False, **extra)[0]


def compile_artefact(checkpoint: Path, recipe: Recipe, facts: dict[str, Any], folder: Path) -> None:
    """Compile a checkpoint for facts["target"] and write its artefact folder; facts go into artefact.json as they are.

    Raises UserProblem for a checkpoint that cannot be loaded, MissingDevice where the target's compiler is not here,
    BuildProblem for a checkpoint that cannot be compiled or whose trace answers differently.
    """
    classifier, tokenizer = load_classifier(checkpoint), load_tokenizer(checkpoint)
    graph = Graph(classifier).eval()
    max_tokens = longest_input(classifier, tokenizer)
    target, pad_id = facts["target"], tokenizer.pad_token_id or 0
    wanted = recipe.buckets
    buckets = None if wanted is None else fitting(wanted, max_tokens, weights_in(classifier), target)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if target in COMPILERS:
        assert buckets is not None, "a recipe for an accelerator has buckets"
        # Half padding: seeing no padding, transformers may leave the mask out of the graph.
        examples = {length: probe(length // 2, length, pad_id) for length in buckets}
        graphs = COMPILERS[target](graph, examples, recipe, target, folder)
    else:
        lengths = buckets or [n for n in PROBE_LENGTHS if n < max_tokens] + [max_tokens]
        graphs = compile_cpu(graph, recipe, lengths, pad_id, folder)
    tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
    shape = {"labels": labels_of(classifier), "max_tokens": max_tokens, "pad_id": pad_id, "buckets": buckets}
    write_artefact({"schema": 1, **facts, **shape, "graphs": graphs, "parity": None}, folder)


def compile_cpu(graph: Graph, recipe: Recipe, lengths: list[int], pad_id: int, folder: Path) -> list[str]:
    """Write one graph that takes every length, checked at these, and return its name. Raises BuildProblem."""
    if recipe.engine == ONNX_RUNTIME:
        assert recipe.buckets is None, "in ONNX Runtime an utterance has its own length: the mask may not be read"
        probes = [probe(length, length, pad_id) for length in lengths]
        return compile_int8(graph, graph.classifier, probes, recipe.precision, folder)
    traced = trace(graph, lengths[0] if recipe.buckets else min(TRACE_LENGTH, lengths[-1]), pad_id)
    check_lengths(graph, traced, lengths, pad_id)
    torch.jit.save(traced, str(folder / GRAPH))
    return [GRAPH]


def weights_in(classifier: Any) -> int:
    """Return how many weights a classifier has."""
    return sum(values.numel() for values in classifier.parameters())


def trace(graph: Graph, length: int, pad_id: int) -> Any:
    """Return a graph as frozen TorchScript."""
    with torch.no_grad(), warnings.catch_warnings():
        # The tracer warns of every Python branch in the model's code; check_lengths finds out those that matter.
        warnings.simplefilter("ignore")
        return torch.jit.freeze(torch.jit.trace(graph, probe(length, length, pad_id), check_trace=False))


def check_lengths(graph: Graph, traced: Any, lengths: list[int], pad_id: int) -> None:
    """Raise BuildProblem unless a traced graph gives the original's logits at each length, padded and full."""
    for length in lengths:
        for real in {length, max(3, length // 2)}:
            inputs = probe(min(real, length), length, pad_id)
            with torch.inference_mode():
                change = float((graph(*inputs) - traced(*inputs)).abs().max())
            if not change <= TOLERANCE:
                raise BuildProblem(
                    f"compile: the traced model's logits differ by {change:.3g} from the original's at {length} tokens; "
                    "this architecture cannot be traced for inputs of any length"
                )


def probe(real: int, length: int, pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return made-up inputs int64 [1, length] of which the first `real` tokens count."""
    ids = torch.full((1, length), pad_id, dtype=torch.int64)
    ids[0, :real] = torch.arange(real) % 7 + pad_id + 1
    mask = torch.zeros((1, length), dtype=torch.int64)
    mask[0, :real] = 1
    return ids, mask, torch.zeros((1, length), dtype=torch.int64)


def read_artefact(folder: Path) -> dict[str, Any] | None:
    """Return a folder's artefact.json; None unless the folder holds a whole artefact."""
    try:
        facts = json.loads((folder / ARTEFACT_JSON).read_text(encoding="utf-8"))
        return facts if all((folder / name).is_file() for name in artefact_files(facts)) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_artefact(facts: dict[str, Any], folder: Path) -> None:
    """Write artefact.json, the last file of the folder: it says that the others are there."""
    (folder / ARTEFACT_JSON).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
