"""Compiling for Inferentia: one graph per bucket, by torch-neuron (inf1) or torch-neuronx (inf2)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from neuron_cores import chips, claim_core
from neuron_model import graph_name, import_neuron

from model.problem import BuildProblem, UserProblem
from model.recipes import Recipe

Inputs = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def compile_buckets(graph: Any, examples: Mapping[int, Inputs], recipe: Recipe, target: str, folder: Path) -> list[str]:
    """Write a graph for each length, with its compiler's logs beside it, and return the graphs' names.

    examples maps a length to inputs int64 [1, length]. Raises MissingDevice without the package, UserProblem where it cannot
    compile here, BuildProblem where the compiler fails.
    """
    if chips():
        # Tracing may wake the runtime, which would take every core that it sees.
        claim_core(target)
    package = import_neuron(target)
    for length, inputs in examples.items():
        logs = (folder / f"compiler-{length}").resolve()  # the compilers may work in a folder of their own
        arguments = arguments_of(package, recipe, target, logs)
        try:
            with torch.no_grad():
                traced = package.trace(graph, inputs, **arguments)
        except Exception as error:  # the compilers raise what they like
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BuildProblem(f"compile: {target}, {length} tokens: {text}; the compiler's logs: {logs}") from error
        torch.jit.save(traced, str(folder / graph_name(length)))
        print(f"         {length} tokens: {graph_name(length)}; logs in {logs}", flush=True)
    return [graph_name(length) for length in examples]


def arguments_of(package: Any, recipe: Recipe, target: str, logs: Path) -> dict[str, Any]:
    """Return what a target's trace is called with besides graph and inputs."""
    arguments: dict[str, Any] = {"compiler_workdir": str(logs)}
    flags = list(recipe.compiler_args)
    if target == "inf1":
        arguments["verbose"] = 1
    elif not chips():
        if "cpu_backend" not in inspect.signature(package.trace).parameters:
            raise UserProblem("--target inf2: this torch-neuronx compiles on an Inferentia2 only; build there, or update it")
        arguments["cpu_backend"] = True
        flags += ["--target", "inf2"]
    if flags:
        arguments["compiler_args"] = flags
    return arguments
