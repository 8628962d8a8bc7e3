"""The intent model on Inferentia: one compiled graph per sequence bucket, on one NeuronCore."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from intent_model import BadArtefact, IntentModel, first_line, tensors_of
from missing_device import MissingDevice
from neuron_cores import claim_core

INDEX = "https://pip.repos.neuron.amazonaws.com"
PACKAGES = {"inf1": "torch_neuron", "inf2": "torch_neuronx"}


class NeuronModel(IntentModel):
    """An intent model whose graphs take one length each; `target` is what a subclass states."""

    target = ""

    def load_graph(self, path: Path) -> Any:
        """Return the graphs by their length, on this process's NeuronCore. Raises MissingDevice or BadArtefact."""
        if not self.buckets:
            raise BadArtefact(f'{path.parent}: "buckets" is missing: a graph on {self.target} takes one length')
        core = claim_core(self.target)
        # Registers the operators that the files call: torch.jit.load refuses them without it.
        import_neuron(self.target)
        return {length: load_neuron(path.with_name(graph_name(length)), core) for length in self.buckets}

    def infer(self, rows: list[list[int]]) -> list[float]:
        """Return a logit for each label, from rows of a bucket's length; they go in and come out on the CPU."""
        with torch.no_grad():
            return self.graph[len(rows[0])](*tensors_of(rows))[0].tolist()


class Inf1Model(NeuronModel):
    """On Inferentia, by torch-neuron."""

    target = "inf1"


class Inf2Model(NeuronModel):
    """On Inferentia2, by torch-neuronx."""

    target = "inf2"


def graph_name(length: int) -> str:
    """Return the file of the graph that takes a length."""
    return f"model-{length}.pt"


def import_neuron(target: str) -> Any:
    """Return a target's package. Raises MissingDevice also for its namesake on the public index, which only raises."""
    package = PACKAGES[target]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise MissingDevice(
            f"the target {target} needs the package {package}, which cannot be imported: {first_line(error)}; "
            f"install it from AWS's index: pip install --extra-index-url {INDEX} -r requirements/{target}.txt"
        ) from error


def load_neuron(path: Path, core: int) -> Any:
    """Return the graph of a file. Raises BadArtefact, with the runtime's own first line."""
    try:
        return torch.jit.load(str(path))
    except (RuntimeError, ValueError) as error:
        raise BadArtefact(f"{path}: cannot be loaded onto NeuronCore {core}: {first_line(error)}") from error
