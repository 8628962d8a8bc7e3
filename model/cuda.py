"""Compiling for an NVIDIA GPU: TorchScript in the recipe's precision, traced on the GPU, since a trace keeps its device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from cuda_model import require_cuda

from model.layout import GRAPH
from model.neuron import Inputs
from model.problem import BuildProblem
from model.recipes import Recipe

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}
# Logits are some units large; fp16 has three digits, and eager and traced code round in another order.
TOLERANCES = {"fp32": 1e-3, "fp16": 5e-2}


def compile_graph(graph: Any, examples: Mapping[int, Inputs], recipe: Recipe, target: str, folder: Path) -> list[str]:
    """Write one graph that takes every length and return its name. Raises MissingDevice or BuildProblem."""
    device = require_cuda()
    placed = graph.to(device, PRECISIONS[recipe.precision])
    on_device = {length: tuple(values.to(device) for values in inputs) for length, inputs in examples.items()}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, of every branch; check_lengths finds those that matter
        traced = torch.jit.freeze(torch.jit.trace(placed, on_device[min(on_device)], check_trace=False))
    check_lengths(placed, traced, on_device, TOLERANCES[recipe.precision])
    torch.jit.save(traced, str(folder / GRAPH))
    return [GRAPH]


def check_lengths(graph: Any, traced: Any, examples: Mapping[int, Any], tolerance: float) -> None:
    """Raise BuildProblem unless a traced graph gives the original's logits at each length."""
    for length, inputs in examples.items():
        with torch.inference_mode():
            change = float((graph(*inputs) - traced(*inputs)).abs().max())
        if not change <= tolerance:
            raise BuildProblem(
                f"compile: the traced model's logits differ by {change:.3g} from the original's at {length} tokens"
            )
