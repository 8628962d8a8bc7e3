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

from model.first_token import first_rows, set_nodes

STEPS = 127  # on either side of zero
# Activations are unsigned with their zero in the middle: onnxruntime's product of signed ones takes ten times as long.
ZERO = 128
DEEPEST_GELU = 0.17  # no value of GELU is below its negative
# Constants, by the names that the operators read them by.
STEP, FLAT, DEEPEST = "row_scales_step", "row_scales_flat", "row_scales_deepest"
ZERO_OF_PRODUCT, ZERO_OF_ONE = "row_scales_zero", "row_scales_zero_of_one"
CONSTANTS: dict[str, np.ndarray] = {
    STEP: np.array(1 / STEPS, np.float32),
    FLAT: np.array([-1], np.int64),
    DEEPEST: np.array(DEEPEST_GELU, np.float32),
    ZERO_OF_PRODUCT: np.array(ZERO, np.uint8),
    ZERO_OF_ONE: np.array([ZERO], np.uint8),
}
ZEROS = "row_scales_zeros"  # as many as there are tokens


def scale_by_rows(model: Any) -> int:
    """Change an ONNX model's products of [1, rows, n] with weights [n, columns] to int8, in place; return how many.

    The head's first product, of the first row, as well; the one that gives the logits stays in fp32.
    """
    import onnx

    graph = model.graph
    weights = {given.name: given for given in graph.initializer if is_matrix(given)}
    first, curved = first_rows(graph), {node.output[0] for node in graph.node if node.op_type == "Gelu"}
    constants = dict(CONSTANTS)
    nodes, products, counted = [], 0, False
    quantized: set[str] = set()
    for node in graph.node:
        of_head = is_heads(node, first, graph)
        if not (node.op_type == "MatMul" or of_head) or node.input[1] not in weights:
            nodes.append(node)
            continue
        rows, columns = node.input[:2]
        if rows not in quantized:  # query, key and value read the same
            nodes += scale(rows, rows in curved)
            if rows not in first and not counted:
                nodes += zeros(rows)
                counted = True
            nodes.append(quantize(rows, rows in first))
            quantized.add(rows)
        values = onnx.numpy_helper.to_array(weights[columns])
        constants.update(quantize_columns(columns, values.T if of_head else values))
        nodes.append(product(node, rows in first))
        products += 1
    replace(graph, nodes, constants)
    return products


def is_matrix(constant: Any) -> bool:
    """Tell whether a constant is a matrix of fp32."""
    import onnx

    return len(constant.dims) == 2 and constant.data_type == onnx.TensorProto.FLOAT


def is_heads(node: Any, first: set[str], graph: Any) -> bool:
    """Tell whether an operator multiplies the first row by a linear layer's weights, and gives no result of the graph."""
    attributes = {given.name: given for given in node.attribute}
    return (
        node.op_type == "Gemm"
        and node.input[0] in first
        and node.output[0] not in {given.name for given in graph.output}
        and "transB" in attributes
        and attributes["transB"].i == 1
        and all(attributes[name].f == 1 for name in ("alpha", "beta") if name in attributes)
    )


def replace(graph: Any, nodes: list[Any], constants: dict[str, np.ndarray]) -> None:
    """Give a graph these operators, and these constants beside those of its own that are still read."""
    import onnx

    set_nodes(graph, nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(values, name) for name, values in constants.items())
    read = {name for node in graph.node for name in node.input}
    for index in reversed(range(len(graph.initializer))):
        if graph.initializer[index].name not in read:
            del graph.initializer[index]


def scale(rows: str, curved: bool) -> list[Any]:
    """Return the operators that find a scale for each row of activations [1, rows, n]: as a column, and flat.

    Of what GELU gave (``curved``) the largest value is the largest in size, unless that is less than GELU goes below zero.
    A row of zeros has the scale 0, which makes zeros of whatever integers stand for it.
    """
    from onnx import helper

    size, largest, column = f"{rows}_size", f"{rows}_largest", scale_of(rows)
    if curved:
        find = [
            helper.make_node("ReduceMax", [rows], [size], axes=[-1], keepdims=1),
            helper.make_node("Clip", [size, DEEPEST], [largest]),
        ]
    else:
        find = [
            helper.make_node("Abs", [rows], [size]),
            helper.make_node("ReduceMax", [size], [largest], axes=[-1], keepdims=1),
        ]
    return [
        *find,
        helper.make_node("Mul", [largest, STEP], [column]),
        helper.make_node("Reshape", [column, FLAT], [flat_scale_of(rows)]),
    ]


def zeros(rows: str) -> list[Any]:
    """Return the operators that make the zero points, as many as these activations have rows."""
    from onnx import helper, numpy_helper

    count, zero = f"{rows}_count", numpy_helper.from_array(np.array([ZERO], np.uint8))
    return [
        helper.make_node("Shape", [flat_scale_of(rows)], [count]),
        helper.make_node("ConstantOfShape", [count], [ZEROS], value=zero),
    ]


def quantize(rows: str, one: bool) -> Any:
    """Return the operator that makes of activations the same in uint8."""
    from onnx import helper

    inputs = [rows, flat_scale_of(rows), ZERO_OF_ONE if one else ZEROS]
    return helper.make_node("QuantizeLinear", inputs, [int8_of(rows)], axis=1)


def quantize_columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return weights [n, columns] in int8 and the scale of each column, by the names that `product` reads."""
    scales = (np.abs(values).max(axis=0) / STEPS).astype(np.float32)
    steps = np.where(scales > 0, scales, 1)  # a column of zeros
    return {int8_of(name): np.ascontiguousarray(np.rint(values / steps).astype(np.int8)), scale_of(name): scales}


def product(node: Any, one: bool) -> Any:
    """Return the product in int8 that takes a node's place, its addition included where it has one.

    The scale of ``one`` row is given flat: a single number is multiplied with before the addition, a column after it.
    """
    from onnx import helper

    rows, columns, *addend = node.input
    of_rows = flat_scale_of(rows) if one else scale_of(rows)
    inputs = [int8_of(rows), int8_of(columns), of_rows, scale_of(columns), ZERO_OF_PRODUCT]
    inputs += ["", *addend] if addend else []  # no zero point for the columns
    return helper.make_node("MatMulIntegerToFloat", inputs, list(node.output), name=node.name, domain="com.microsoft")


def int8_of(name: str) -> str:
    """Return what the integers of a tensor are called."""
    return f"{name}_int8"


def scale_of(name: str) -> str:
    """Return what the scales of a tensor are called."""
    return f"{name}_scale"


def flat_scale_of(name: str) -> str:
    """Return what the scales of some activations are called where they have one dimension."""
    return f"{name}_scale_flat"
