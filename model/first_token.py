"""The first token's row: the head reads no other row of the last layer, so no other is computed.

An encoder's activations have a row for each token, of which the classification head takes the first. Of the last layer's
operators all but its attention treat each row by itself, and so need that row alone; attention asks for it with that row's
query, of the keys and values of all. For 12 tokens and 6 layers an eighth of all products is saved (BERT-base's shape: a
sixteenth). The logits are the same.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

# Operators whose result in a row depends on that row alone; of MatMul those with a constant.
ROW_WISE = frozenset({"MatMul", "LayerNormalization", "Gelu", "FastGelu", "Add"})
ATTENTION = "MultiHeadAttention"
BIAS_BY_ROW = 5  # its inputs from attention_bias on; before it are query, key, value, a bias by column and a mask by key
TOKENS = 1  # the axis of [1, tokens, width]
BOUNDS = {"first_row_start": 0, "first_row_end": 1, "first_row_axis": TOKENS}


def keep_first_row(model: Any) -> int:
    """Change an ONNX model in place, and return how many of its operators see the first row only now.

    None do, and nothing is changed, where the head does not take the first row by an operator Gather.
    """
    graph = model.graph
    chain = chain_before_head(graph)
    narrow = chain | constants_of(graph) | {""}
    cut: set[str] = set()
    nodes = []
    for node in graph.node:
        wide = row_wise_inputs(node) - narrow if node.output[0] in chain else set()
        nodes += [slice_node(name) for name in dict.fromkeys(node.input) if name in wide - cut]
        cut |= wide
        node.input[:] = [first_row_of(name) if name in wide else name for name in node.input]
        nodes.append(node)
    if cut:
        graph.initializer.extend(bound(name, value) for name, value in BOUNDS.items())
        set_nodes(graph, nodes)
    return len(chain)


def chain_before_head(graph: Any) -> set[str]:
    """Return the results of the row-wise operators that nobody reads but the head and one another, row by row."""
    head = next((node.output[0] for node in graph.node if takes_first_row(node, graph)), None)
    if head is None:
        return set()
    # What reads a result row by row, named by what it makes of it; "" reads all of it, as does whoever runs the graph.
    readers: dict[str, set[str]] = defaultdict(set, {given.name: {""} for given in graph.output})
    for node in graph.node:
        for name in node.input:
            readers[name].add(node.output[0] if name in row_wise_inputs(node) or node.output[0] == head else "")
    constants = constants_of(graph)
    chain: set[str] = set()
    for node in reversed(graph.node):
        alone = row_wise_inputs(node) and (node.op_type != "MatMul" or node.input[1] in constants)
        read_by = set().union(*(readers[name] for name in node.output if name))
        if alone and read_by and read_by <= chain | {head}:
            chain.add(node.output[0])
    return chain


def row_wise_inputs(node: Any) -> set[str]:
    """Return the inputs of which an operator needs for a row of its result that row alone."""
    if node.op_type == ATTENTION:
        return set(node.input[:1]) if asks_row_by_row(node) else set()
    return set(node.input) if node.op_type in ROW_WISE else set()


def asks_row_by_row(attention: Any) -> bool:
    """Tell whether attention gives each row of its query all keys and values, with nothing else that goes by that row.

    github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MultiHeadAttention
    """
    query, *matrices = attention.input[:3]
    apart = len(matrices) == 2 and all(matrices) and query not in matrices
    one_way = any(given.name == "unidirectional" and given.i for given in attention.attribute)
    return apart and not any(attention.input[BIAS_BY_ROW:]) and not one_way


def first_rows(graph: Any) -> set[str]:
    """Return the tensors that hold the first row alone, in a graph that keeps it."""
    found: set[str] = set()
    for node in graph.node:
        cut = node.op_type == "Slice" and list(node.input[1:]) == list(BOUNDS)
        if cut or row_wise_inputs(node) & found or takes_first_row(node, graph):
            found.update(node.output)
    return found


def takes_first_row(node: Any, graph: Any) -> bool:
    """Tell whether an operator takes row 0 of [1, tokens, width]."""
    import onnx

    if node.op_type != "Gather" or [given.i for given in node.attribute] != [TOKENS]:  # axis is its only attribute
        return False
    values = {given.name: given for given in graph.initializer}
    made = [other for other in graph.node if other.op_type == "Constant" and other.attribute[0].name == "value"]
    values.update({constant.output[0]: constant.attribute[0].t for constant in made})
    index = values.get(node.input[1])
    return index is not None and onnx.numpy_helper.to_array(index).tolist() == 0


def set_nodes(graph: Any, nodes: list[Any]) -> None:
    """Give a graph these operators in place of its own, of which some may be among them."""
    copied = [type(node).FromString(node.SerializeToString()) for node in nodes]  # clearing the list empties its nodes
    del graph.node[:]
    graph.node.extend(copied)


def constants_of(graph: Any) -> set[str]:
    """Return the names of a graph's weights."""
    return {given.name for given in graph.initializer}


def first_row_of(name: str) -> str:
    """Return what the first row of a tensor is called."""
    return f"{name}_first_row"


def slice_node(name: str) -> Any:
    """Return the operator that takes the first row of a tensor."""
    import onnx

    return onnx.helper.make_node("Slice", [name, *BOUNDS], [first_row_of(name)])


def bound(name: str, value: int) -> Any:
    """Return a number as a constant of a graph."""
    import onnx

    return onnx.helper.make_tensor(name, onnx.TensorProto.INT64, [1], [value])
