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

from model.first_token import first_rows, row_wise_inputs, set_nodes

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


def scale_by_rows(model: Any) -> int:
    """Change an ONNX model's products of [1, rows, n] with weights [n, columns] to int8, in place; return how many.

    The head's products of the first row as well, which are not counted, but not its last, which gives the logits.
    """
    import onnx

    graph = model.graph
    weights = {given.name: given for given in graph.initializer if is_matrix(given)}
    first, alike = first_rows(graph), alike_in_rows(graph)
    heads, curved = heads_of(graph, first), {node.output[0] for node in graph.node if node.op_type == "Gelu"}
    constants = dict(CONSTANTS)
    nodes, products = [], 0
    quantized: set[str] = set()
    zeros: set[str] = {ZERO_OF_ONE}
    for node in graph.node:
        of_head = node.output[0] in heads
        if not (node.op_type == "MatMul" or of_head) or node.input[1] not in weights:
            nodes.append(node)
            continue
        rows = node.input[0]
        if rows not in quantized:  # query, key and value read the same
            nodes += scale(rows, rows in curved)
            zero = ZERO_OF_ONE if rows in first else f"{alike.get(rows, rows)}_zeros"
            if zero not in zeros:
                nodes += zeros_as_many_as(rows, zero)
            nodes.append(quantize(rows, zero))
            quantized.add(rows)
            zeros.add(zero)
        columns, values = node.input[1], onnx.numpy_helper.to_array(weights[node.input[1]])
        if of_head:
            columns, values = f"{columns}_transposed", values.T
        constants.update(quantize_columns(columns, values))
        nodes.append(product(node, columns, rows in first))
        products += not of_head
    replace(graph, nodes, constants)
    return products


def is_matrix(constant: Any) -> bool:
    """Tell whether a constant is a matrix of fp32."""
    import onnx

    return len(constant.dims) == 2 and constant.data_type == onnx.TensorProto.FLOAT


def heads_of(graph: Any, first: set[str]) -> set[str]:
    """Return the results of linear layers of the first row (x times weights transposed, and addends), but for the last."""
    layers = [node for node in graph.node if node.op_type == "Gemm"]
    sizes = {given.name: list(given.dims) for given in graph.initializer}
    found = set()
    for node in layers[:-1]:
        how = {given.name: given.f or given.i for given in node.attribute}
        plain = how.get("transB") == 1 and not how.get("transA") and how.get("alpha", 1) == how.get("beta", 1) == 1
        addends = sizes.get(node.input[2]) if len(node.input) == 3 else None
        if plain and addends == sizes.get(node.input[1], [])[:1] and node.input[0] in first:
            found.add(node.output[0])
    return found


def alike_in_rows(graph: Any) -> dict[str, str]:
    """Return for tensors another that surely has as many rows, the same for all that were made of it row by row."""
    constants = {given.name for given in graph.initializer}
    alike: dict[str, str] = {}
    for node in graph.node:
        by_row = row_wise_inputs(node) - constants - {""}
        if node.op_type == "MatMul" and node.input[1] not in constants:
            continue
        sources = {alike.get(name, name) for name in by_row}
        if len(sources) == 1:
            alike[node.output[0]] = sources.pop()
    return alike


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


def zeros_as_many_as(rows: str, name: str) -> list[Any]:
    """Return the operators that make zero points, as many as these activations have rows."""
    from onnx import helper, numpy_helper

    zero = numpy_helper.from_array(np.array([ZERO], np.uint8))
    return [
        helper.make_node("Shape", [flat_scale_of(rows)], [f"{name}_count"]),
        helper.make_node("ConstantOfShape", [f"{name}_count"], [name], value=zero),
    ]


def quantize(rows: str, zeros: str) -> Any:
    """Return the operator that makes of activations the same in uint8."""
    from onnx import helper

    return helper.make_node("QuantizeLinear", [rows, flat_scale_of(rows), zeros], [int8_of(rows)], axis=1)


def quantize_columns(name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return weights [n, columns] in int8 and the scale of each column, by the names that `product` reads.

    Without VNNI, onnxruntime adds the products of an even row and the next in 16 bits (vpmaddubsw), which must not overflow
    whatever the activations, 0 to 255. So two such weights of one sign have STEPS together, or one more by rounding, and
    255 * 128 < 2**15.
    """
    pairs = np.pad(values, ((0, len(values) % 2), (0, 0))).reshape(-1, 2, values.shape[1])
    largest = np.maximum(pairs.clip(min=0).sum(axis=1), -pairs.clip(max=0).sum(axis=1)).max(axis=0)
    scales = (largest / STEPS).astype(np.float32)
    steps = np.where(scales > 0, scales, 1)  # a column of zeros
    return {int8_of(name): np.ascontiguousarray(np.rint(values / steps).astype(np.int8)), scale_of(name): scales}


def product(node: Any, columns: str, one: bool) -> Any:
    """Return the product in int8 with these columns that takes a node's place, its addition included where it has one.

    The scale of ``one`` row is given flat: a single number is multiplied with before the addition, a column after it.
    """
    from onnx import helper

    rows, _, *addends = node.input
    of_rows = flat_scale_of(rows) if one else scale_of(rows)
    inputs = [int8_of(rows), int8_of(columns), of_rows, scale_of(columns), ZERO_OF_PRODUCT]
    inputs += ["", *addends] if addends else []  # no zero point for the columns
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
