"""The int8 engines: a checkpoint as ONNX, its matrices in int8, for ONNX Runtime on the CPU.

Weights are quantized once, activations at run time: no calibration data, and none that goes stale. At the few tokens of an
utterance a layer waits for its weights from memory, of which int8 moves a quarter. What tells the two apart is what shares a
scale: ROWS gives one to each token's activations, BLOCKS one to each 64 values of them.
docs/decisions/0113-int8-in-onnx-runtime.md, docs/decisions/0117-int8-by-rows.md
onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import inspect
import logging
import tempfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable

import torch
from cpu_model import ONNX_GRAPH, load_onnx
from intent_model import first_line

from model.first_token import keep_first_row
from model.mask import MASK, drop_mask
from model.problem import BuildProblem
from model.row_scales import scale_by_rows

OPSET = 17  # row_scales.py writes the axes of ReduceMax as an attribute, which they are below 18
INPUTS = ("ids", MASK, "types")
TOLERANCE = 1e-3
ROWS, BLOCKS = "int8-rows", "int8-blocks"
BLOCK = 64  # values that share a scale; 32 is nearer to fp32 and a tenth slower, 128 the other way round
INT8_ACTIVATIONS = 4  # MatMulNBits' accuracy_level: multiply in int8


def compile_int8(
    graph: Any, classifier: Any, probes: Iterable[tuple[torch.Tensor, ...]], precision: str, folder: Path
) -> list[str]:
    """Write one graph that takes every length, without padding, and return its name; precision is ROWS or BLOCKS.

    The fp32 form of it must give the original's logits for each probe; int8 is judged by parity. Raises BuildProblem.
    """
    quantize = {ROWS: quantize_rows, BLOCKS: quantize_blocks}[precision]
    probes = list(probes)
    with tempfile.TemporaryDirectory() as name:
        exported, fused = Path(name) / "exported.onnx", Path(name) / "fused.onnx"
        export(graph, classifier, probes[0], exported)
        fuse(classifier.config, exported, fused)
        check(graph, fused, probes)
        with quiet():
            quantize(fused, folder / ONNX_GRAPH)
    run = load_onnx(folder / ONNX_GRAPH, threads=1)
    for inputs in probes:
        logits_of(run, inputs)
    return [ONNX_GRAPH]


def quantize_rows(source: Path, path: Path) -> None:
    """Write a graph with its matrices in int8, activations scaled by row, weights by column; embeddings stay in fp32."""
    import onnx

    model = onnx.load(str(source))
    if not scale_by_rows(model):
        raise BuildProblem("compile: no matrix product was found to compute in int8; use the recipe fp32")
    onnx.save(model, str(path))


def quantize_blocks(source: Path, path: Path) -> None:
    """Write a graph with its matrices in int8, weights and activations scaled by blocks; embeddings stay in fp32."""
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    how = DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=True, accuracy_level=INT8_ACTIVATIONS, bits=8)
    quantizer = MatMulNBitsQuantizer(onnx.load(str(source)), algo_config=how)
    quantizer.process()
    quantizer.model.save_model_to_file(str(path))


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
    """Write a graph with attention, layer normalisation and GELU as one operator each, for inputs without padding."""
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions

    options = FusionOptions("bert")
    # The operator Attention has the matrices of query, key and value inside, where no quantization of ours reaches them.
    options.use_multi_head_attention = True
    # With the additions before them fused in, onnxruntime normalises six times and computes GELU 1.3 times as slowly.
    options.enable_skip_layer_norm = options.enable_bias_skip_layer_norm = options.enable_bias_gelu = False
    with quiet():
        model = optimizer.optimize_model(
            str(source),
            model_type="bert",
            num_heads=config.num_attention_heads,
            hidden_size=config.hidden_size,
            opt_level=0,
            optimization_options=options,
        )
        drop_mask(model.model)
        model.prune_graph(allow_remove_graph_inputs=False)  # whoever runs it gives all three, in their order
        keep_first_row(model.model)
        model.save_model_to_file(str(path))


def check(graph: Any, path: Path, probes: Iterable[tuple[torch.Tensor, ...]]) -> None:
    """Raise BuildProblem unless the fp32 ONNX gives the original's logits."""
    run = load_onnx(path, threads=1)
    for inputs in probes:
        with torch.inference_mode():
            expected = graph(*inputs)[0]
        found = logits_of(run, inputs)
        change = float((expected - found).abs().max())
        if not change <= TOLERANCE:
            raise BuildProblem(
                f"compile: the ONNX form's logits differ by {change:.3g} at {inputs[0].shape[1]} tokens: "
                "this architecture cannot be exported for any length; use the recipe fp32"
            )


def logits_of(run: Callable[[list[list[int]]], list[float]], inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return what onnxruntime makes of inputs [1, n] each. Raises BuildProblem where it makes nothing."""
    try:
        return torch.tensor(run([values[0].tolist() for values in inputs]))
    except Exception as error:  # onnxruntime's own exceptions share no class
        raise BuildProblem(
            f"compile: onnxruntime cannot run this model's ONNX form at {inputs[0].shape[1]} tokens: {first_line(error)}; "
            "use the recipe fp32"
        ) from error


class quiet:
    """Keeps the exporters from logging what no user can act on."""

    def __enter__(self) -> None:
        self.before = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *_: Any) -> None:
        logging.disable(self.before)
