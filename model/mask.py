"""The attention mask: dropped where nothing is padded, since onnxruntime was measured to be faster without one.

An utterance comes alone and at its own length, so its mask is all ones and changes nothing. Presumably onnxruntime computes
attention block by block, as FlashAttention does (arxiv.org/abs/2205.14135), only where no mask is given.
docs/decisions/0117-int8-by-rows.md
"""

from __future__ import annotations

from typing import Any

MASK = "mask"
# The operator's inputs that a mask can come by (its others are matrices): key_padding_mask, attention_bias.
# github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.MultiHeadAttention
PLACES = (4, 5)


def drop_mask(model: Any) -> int:
    """Change an ONNX model so that its attention reads no mask, and return how many operators did until now.

    What depends on other inputs as well (a bias by position) stays. What only made the mask stays too, and is not read.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    given = {given.name for given in graph.input}
    dropped = 0
    for node in graph.node:
        places = [place for place in PLACES if place < len(node.input)] if node.op_type == "MultiHeadAttention" else []
        for place in places:
            if inputs_behind(node.input[place], makers) & given == {MASK}:
                node.input[place] = ""
                dropped += 1
    return dropped


def inputs_behind(name: str, makers: dict[str, Any]) -> set[str]:
    """Return the tensors that no operator makes, behind a tensor: the graph's inputs and constants."""
    found: set[str] = set()
    seen, left = {name}, [name]
    while left:
        at = left.pop()
        if at not in makers:
            found.add(at)
            continue
        new = set(makers[at].input) - seen
        seen |= new
        left += new
    return found
