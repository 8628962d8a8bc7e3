"""The intent model on an NVIDIA GPU: one CUDA graph per sequence bucket, or the plain TorchScript of the baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from intent_model import BadArtefact, IntentModel, first_line, tensors_of
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

    def infer(self, rows: list[list[int]]) -> list[float]:
        """Return a logit for each label, from ids, attention mask and token types, each n long on the CPU."""
        with torch.inference_mode():
            if isinstance(self.graph, dict):
                return self.graph[len(rows[0])].run(rows)
            return self.graph(*(values.to(self.device) for values in tensors_of(rows)))[0].tolist()


class CapturedGraph:
    """One length's inference as a CUDA graph: it reads the same tensor on the GPU and writes the same one each time.

    What goes there and comes back has pinned memory on the host, so that neither copy waits; only the answer is waited for.
    """

    def __init__(self, module: Any, length: int, device: torch.device) -> None:
        self.given = pinned(torch.ones((3, 1, length), dtype=torch.int64))
        with torch.inference_mode():
            self.inputs = self.given.to(device)
            warm_up(module, self.inputs)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.logits = module(*self.inputs)
        self.found = pinned(torch.empty(self.logits.shape, dtype=self.logits.dtype))

    def run(self, rows: list[list[int]]) -> list[float]:
        """Return a logit for each label."""
        self.given.copy_(torch.tensor(rows, dtype=torch.int64).unsqueeze(1))
        self.inputs.copy_(self.given, non_blocking=True)
        self.graph.replay()
        self.found.copy_(self.logits, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        return self.found[0].tolist()


def pinned(values: torch.Tensor) -> torch.Tensor:
    """Return values in memory that the GPU reads and writes by itself, while the CPU goes on."""
    return values.pin_memory()


def warm_up(module: Any, inputs: torch.Tensor) -> None:
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
