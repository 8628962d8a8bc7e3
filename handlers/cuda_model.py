"""The intent model on an NVIDIA GPU: one CUDA graph per sequence bucket, or the plain TorchScript of the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from intent_model import BadArtefact, IntentModel, first_line
from missing_device import MissingDevice

CUDA_GRAPHS = "cuda-graphs"
# TorchScript profiles its first runs and then compiles: capture must come after both.
ROUNDS_BEFORE_CAPTURE = 5


class CudaModel(IntentModel):
    """An intent model on the process's current GPU."""

    def load_graph(self, path: Path) -> Any:
        """Return the module; for the engine cuda-graphs a captured graph by length. Raises MissingDevice or BadArtefact."""
        self.device = require_cuda()
        try:
            module = torch.jit.load(str(path), map_location=self.device).eval()
        except (RuntimeError, ValueError) as error:
            raise BadArtefact(f"{path}: cannot be loaded onto {self.device}: {first_line(error)}") from error
        if self.artefact.get("engine") != CUDA_GRAPHS:
            return module
        if not self.buckets:
            raise BadArtefact(f'{path.parent}: "buckets" is missing: a CUDA graph takes one length')
        return {length: CapturedGraph(module, length, self.device) for length in self.buckets}

    def infer(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        """Return logits [labels] on the CPU for inputs int64 [1, n] on the CPU. Copying them back waits for the GPU."""
        with torch.inference_mode():
            if isinstance(self.graph, dict):
                return self.graph[ids.shape[1]].run((ids, mask, types))[0].float().cpu()
            return self.graph(*(values.to(self.device) for values in (ids, mask, types)))[0].float().cpu()


class CapturedGraph:
    """One length's inference as a CUDA graph: it reads the same tensors on the GPU and writes the same one each time."""

    def __init__(self, module: Any, length: int, device: torch.device) -> None:
        ones = torch.ones((1, length), dtype=torch.int64, device=device)
        with torch.inference_mode():
            self.inputs = (ones, ones.clone(), torch.zeros_like(ones))
            warm_up(module, self.inputs)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.logits = module(*self.inputs)

    def run(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return logits [1, labels] on the GPU, valid until the next run."""
        for fixed, given in zip(self.inputs, inputs):
            fixed.copy_(given)
        self.graph.replay()
        return self.logits


def warm_up(module: Any, inputs: Sequence[torch.Tensor]) -> None:
    """Run a module on a stream of its own, as capture wants it."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(ROUNDS_BEFORE_CAPTURE):
            module(*inputs)
    torch.cuda.current_stream().wait_stream(side)


def require_cuda() -> torch.device:
    """Return the current GPU. Raises MissingDevice where torch finds none."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    raise MissingDevice(
        f"the target cuda: torch {torch.__version__}, {built}, finds no NVIDIA GPU; "
        "install its driver (nvidia-smi must work) and requirements/cuda.txt"
    )
