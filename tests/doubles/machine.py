"""Machines that are not here: one with Inferentia chips for neuron_runtime, and a GPU whose graphs run on the CPU."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import cuda_model
import neuron_cores
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from model import cuda, device


def neuron_folder(folder: Path, cores: int) -> Path:
    """Return a folder that holds a machine: its cores, and in dev/ the device file of its chip."""
    for name in (*(f"cores/{core}" for core in range(cores)), "dev/neuron0"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@contextmanager
def inferentia(folder: Path, cores: int):
    """Make this process run on a machine with one chip; what it owned before stays its own."""
    neuron_folder(folder, cores)
    with (
        mock.patch.dict(os.environ, {"NEURON_DOUBLE": str(folder / "cores")}),
        mock.patch.object(neuron_cores, "DEVICES", folder / "dev"),
    ):
        yield folder


# torch 1.13 cannot record in inference mode; the target cuda has a newer one.
RECORDS = not torch.__version__.startswith("1.")


def half() -> torch.dtype:
    """Return what half precision is on this CPU: torch 1.13 has no fp16 kernels for it, so there fp32 stands in."""
    return torch.half if RECORDS else torch.float32


class Recorder(TorchDispatchMode):
    """Records every operation that torch runs, with the very tensors that went in and came out."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out


class RecordedGraph:
    """torch.cuda.CUDAGraph: replay runs the recorded operations again, on the same tensors and into the same ones."""

    def __init__(self):
        self.calls = []

    def replay(self):
        for func, args, kwargs, old in self.calls:
            new = func(*args, **kwargs)
            for fixed, fresh in zip(tensors_in(old), tensors_in(new), strict=True):
                if fixed.data_ptr() != fresh.data_ptr():
                    fixed.copy_(fresh)


def tensors_in(value):
    values = value if isinstance(value, (tuple, list)) else [value]
    return [one for one in values if isinstance(one, torch.Tensor)]


@contextmanager
def gpu(folder: Path):
    """Make this process find a GPU; its device is the CPU, and its streams are none."""
    (folder / "dev").mkdir(parents=True, exist_ok=True)
    (folder / "dev" / "nvidia0").touch()
    cpu = mock.Mock(return_value=torch.device("cpu"))
    stream = mock.MagicMock()
    with (
        mock.patch.object(device, "DEVICES", folder / "dev"),
        mock.patch.object(cuda_model, "require_cuda", cpu),
        mock.patch.object(cuda, "require_cuda", cpu),
        mock.patch.object(cuda_model, "pinned", lambda values: values),
        mock.patch.dict(cuda.PRECISIONS, fp16=half()),
        mock.patch.multiple(
            torch.cuda,
            CUDAGraph=RecordedGraph,
            graph=lambda graph: Recorder(graph.calls),
            Stream=stream,
            stream=stream,
            current_stream=stream,
        ),
    ):
        yield folder
