"""Matrix products in int8, with a scale for each row of activations and for each column of weights.

A row of activations is a token. With one scale for all of them, as onnxruntime quantizes by itself, the token with the
largest outlier takes the steps from all others. Its product MatMulIntegerToFloat multiplies its result by whatever shape of
scales it is given, one for each row among them; that is not documented, and held by tests/model/test_row_scales.py. So only
finding the scales has to be written out. Such scales come from ZeroQuant (arxiv.org/abs/2206.01861), which calls them
token-wise. docs/decisions/0117-int8-by-rows.md
github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MatMulIntegerToFloat
"""

from __future__ import annotations

from typing import Any

import numpy as np

from model.first_token import set_nodes

STEPS = 127  # on either side of zero
# Activations are unsigned with their zero in the middle: onnxruntime's product of signed ones takes ten times as long.
ZERO = 128
CONSTANTS: dict[str, np.ndarray] = {
    "row_scales_step": np.array(1 / STEPS, np.float32),
    "row_scales_zero": np.array(ZERO, np.uint8),
    "row_scales_flat": np.array([-1], np.int64),
}


def scale_by_rows(model: Any) -> int:
    """Change an ONNX model's products of [1, rows, n] with weights [n, columns] to int8, in place; return how many."""
    import onnx

    graph = model.graph
    weights = {given.name: given for given in graph.initializer if is_matrix(given)}
    constants = dict(CONSTANTS)
    quantized: set[str] = set()
    nodes, products = [], 0
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        rows, columns = node.input
        if rows not in quantized:  # query, key and value read the same
            nodes += quantize(rows)
            quantized.add(rows)
        constants.update(quantize_columns(columns, onnx.numpy_helper.to_array(weights[columns])))
        nodes.append(product(rows, columns, node))
        products += 1
    replace(graph, nodes, constants)
    return products


def is_matrix(constant: Any) -> bool:
    """Tell whether a constant is a matrix of fp32."""
    import onnx

    return len(constant.dims) == 2 and constant.data_type == onnx.TensorProto.FLOAT


def replace(graph: Any, nodes: list[Any], constants: dict[str, np.ndarray]) -> None:
    """Give a graph these operators, and these constants beside those of its own that are still read."""
    import onnx

    set_nodes(graph, nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in constants.items())
    read = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]


def quantize(rows: str) -> list[Any]:
    """Return the operators that make of activations [1, rows, n] the same in uint8, and a scale for each row.

    A row of zeros has the scale 0, which makes zeros of whatever integers stand for it.
    """
    from onnx import helper, numpy_helper

    def made(what: str) -> str:
        return f"{rows}_{what}"

    zero = numpy_helper.from_array(np.array([ZERO], np.uint8))
    return [
        helper.make_node("Abs", [rows], [made("size")]),
        helper.make_node("ReduceMax", [made("size")], [made("largest")], axes=[-1], keepdims=1),
        helper.make_node("Mul", [made("largest"), "row_scales_step"], [made("scale")]),
        helper.make_node("Reshape", [made("scale"), "row_scales_flat"], [made("scale_flat")]),
        helper.make_node("Shape", [made("scale_flat")], [made("count")]),
        helper.make_node("ConstantOfShape", [made("count")], [made("zeros")], value=zero),
        helper.make_node("QuantizeLinear", [rows, made("scale_flat"), made("zeros")], [made("int8")], axis=1),
    ]


def quantize_columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return weights [n, columns] in int8 and the scale of each column, by the names that `product` reads."""
    scales = (np.abs(values).max(axis=0) / STEPS).astype(np.float32)
    steps = np.where(scales > 0, scales, 1)  # a column of zeros
    return {f"{name}_int8": np.rint(values / steps).astype(np.int8), f"{name}_scale": scales}


def product(rows: str, columns: str, node: Any) -> Any:
    """Return the product in int8 that takes a node's place."""
    from onnx import helper

    inputs = [f"{rows}_int8", f"{columns}_int8", f"{rows}_scale", f"{columns}_scale", "row_scales_zero"]
    return helper.make_node("MatMulIntegerToFloat", inputs, list(node.output), name=node.name, domain="com.microsoft")
