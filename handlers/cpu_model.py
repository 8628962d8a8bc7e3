"""The intent model on the CPU: int8 weights in ONNX Runtime, or TorchScript where the artefact says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import torch
from intent_model import BadArtefact, IntentModel, first_line

ONNX_RUNTIME = "onnxruntime"
ONNX_GRAPH = "model.onnx"
SLOWER = ("SkipLayerNormFusion", "BiasGeluFusion")


class CpuModel(IntentModel):
    """An intent model on some threads of the CPU."""

    def load_graph(self, path: Path) -> Any:
        """Return the compiled model by the artefact's engine. Raises BadArtefact."""
        if self.artefact.get("engine") == ONNX_RUNTIME:
            return load_onnx(path.with_name(ONNX_GRAPH), torch.get_num_threads())
        return super().load_graph(path)

    def infer(self, rows: list[list[int]]) -> list[float]:
        """Return a logit for each label, from ids, attention mask and token types, each n long."""
        return self.graph(rows) if self.artefact.get("engine") == ONNX_RUNTIME else super().infer(rows)


def load_onnx(path: Path, threads: int) -> Callable[[list[list[int]]], list[float]]:
    """Return a function from ids, mask and types, each n long, to a logit for each label. Raises BadArtefact."""
    try:
        import numpy
        import onnxruntime
    except ImportError as error:
        raise BadArtefact(
            f"{path}: needs the package onnxruntime, which cannot be imported: {first_line(error)}; "
            "install requirements/cpu.txt"
        ) from error
    options = session_options(threads)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no class
        raise BadArtefact(f"{path}: not a model that onnxruntime can load: {first_line(error)}") from error
    names = [given.name for given in session.get_inputs()]

    def run(rows: list[list[int]]) -> list[float]:
        inputs = {name: numpy.array([row], dtype=numpy.int64) for name, row in zip(names, rows)}
        return session.run(None, inputs)[0][0].tolist()

    return run


def session_options(threads: int) -> Any:
    """Return how onnxruntime is to run a graph."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would take the core from the server's front end between two utterances.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # These would make one slower operator of two (docs/decisions/0117-int8-by-rows.md).
    options.add_session_config_entry("optimization.disable_specified_optimizers", ";".join(SLOWER))
    return options
