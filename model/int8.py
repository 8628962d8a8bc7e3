"""The int8 engine: a checkpoint as ONNX, its matrices in int8, for ONNX Runtime on the CPU.

Weights are quantized per output channel, activations at run time: no calibration data, and none that goes stale. At the few
tokens of an utterance a layer waits for its weights from memory, of which int8 moves a quarter.
onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from cpu_model import ONNX_GRAPH, load_onnx

from model.problem import BuildProblem

OPSET = 17
INPUTS = ("ids", "mask", "types")
TOLERANCE = 1e-3
FLOAT = 1  # onnx.TensorProto.FLOAT: what the fused operators give, which onnx's shape inference does not know


def compile_int8(graph: Any, classifier: Any, probes: Iterable[tuple[torch.Tensor, ...]], folder: Path) -> list[str]:
    """Write one graph that takes every length and return its name.

    The fp32 form of it must give the original's logits for each probe; int8 is judged by parity. Raises BuildProblem.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    probes = list(probes)
    with tempfile.TemporaryDirectory() as name:
        exported, fused = Path(name) / "exported.onnx", Path(name) / "fused.onnx"
        export(graph, classifier, probes[0], exported)
        fuse(classifier.config, exported, fused)
        check(graph, fused, probes)
        with quiet():
            quantize_dynamic(
                str(fused),
                str(folder / ONNX_GRAPH),
                weight_type=QuantType.QInt8,
                per_channel=True,
                extra_options={"DefaultTensorType": FLOAT},
            )
    return [ONNX_GRAPH]


def export(graph: Any, classifier: Any, example: tuple[torch.Tensor, ...], path: Path) -> None:
    """Write a graph as ONNX in fp32, every length allowed."""
    # The fusion knows attention written out, not torch's fused operator. Older transformers use no other with torch 1.13.
    if hasattr(classifier, "set_attn_implementation"):
        classifier.set_attn_implementation("eager")
    # The exporter whose output the fusion knows was the only one before torch 2.
    older: dict[str, Any] = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    with torch.no_grad(), warnings.catch_warnings(), quiet():
        warnings.simplefilter("ignore")  # the tracer's, of every branch; check finds those that matter
        torch.onnx.export(
            graph,
            example,
            str(path),
            input_names=list(INPUTS),
            output_names=["logits"],
            dynamic_axes={name: {1: "tokens"} for name in INPUTS},
            opset_version=OPSET,
            **older,
        )


def fuse(config: Any, source: Path, path: Path) -> None:
    """Write a graph with attention, layer normalisation and GELU as one operator each: a tenth faster at 12 tokens."""
    from onnxruntime.transformers import optimizer

    with quiet():
        model = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=0,
        )
        model.save_model_to_file(str(path))


def check(graph: Any, path: Path, probes: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Raise BuildProblem unless the fp32 ONNX gives the original's logits."""
    run = load_onnx(path, threads=1)
    for inputs in probes:
        with torch.inference_mode():
            change = float((graph(*inputs) - run(*inputs)).abs().max())
        if not change <= TOLERANCE:
            raise BuildProblem(
                f"compile: the ONNX form's logits differ by {change:.3g} at {inputs[0].shape[1]} tokens: "
                "this architecture cannot be exported for any length; use the recipe fp32"
            )


class quiet:
    """Keeps the exporters from logging what no user can act on."""

    def __enter__(self) -> None:
        self.before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: Any) -> None:
        logging.disable(self.before)
