"""The attention mask: dropped where it comes from the mask alone, with the same answers to what is not padded."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
from onnx import TensorProto, helper

from model import artefact, int8
from model.checkpoint import load_classifier
from model.mask import drop_mask

HEADS, WIDTH = 2, 8


def attention(*nodes, place, reads):
    """A graph of attention among rows [1, tokens, WIDTH] that reads a tensor at a place, and what makes that."""
    inputs = ["rows", "rows", "rows", "", "", ""]
    inputs[place] = reads
    attend = helper.make_node("MultiHeadAttention", inputs, ["hidden"], num_heads=HEADS, domain="com.microsoft")
    tensors = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "tokens", WIDTH]),
        helper.make_tensor_value_info("mask", TensorProto.INT64, [1, "tokens"]),
    ]
    hidden = helper.make_tensor_value_info("hidden", TensorProto.FLOAT, None)
    graph = helper.make_graph([*nodes, attend], "attention", tensors, [hidden])
    opsets = [helper.make_opsetid("", int8.OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def attended(model, mask):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(1).normal(size=(1, len(mask), WIDTH)).astype(np.float32)
    wanted = {given.name for given in session.get_inputs()}
    given = {"rows": rows, "mask": np.array([mask], np.int64)}
    return session.run(None, {name: values for name, values in given.items() if name in wanted})[0]


PADDING = helper.make_node("Cast", ["mask"], ["padding"], to=TensorProto.INT32)
# Added to the likeness of any two tokens: nothing for a key that counts, much less for one that does not.
SCORES = [
    helper.make_node("Cast", ["mask"], ["numbers"], to=TensorProto.FLOAT),
    helper.make_node("Log", ["numbers"], ["scores"]),
    helper.make_node("Reshape", ["scores", "one_row"], ["row"]),
    helper.make_node("Expand", ["row", "square"], ["bias"]),
]


def masked(place):
    if place == 4:
        return attention(PADDING, place=4, reads="padding")
    model = attention(*SCORES, place=5, reads="bias")
    for name, shape in (("one_row", [1, 1, 1, 3]), ("square", [1, 1, 3, 3])):
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(shape), name))
    return model


@pytest.mark.parametrize("place", [4, 5])
def test_a_mask_of_ones_changes_nothing_and_is_dropped(place):
    model = masked(place)
    whole, padded = attended(model, [1, 1, 1]), attended(model, [1, 1, 0])
    assert (whole != padded).any()
    assert drop_mask(model) == 1
    np.testing.assert_allclose(attended(model, [1, 1, 1]), whole, rtol=1e-5)
    np.testing.assert_array_equal(attended(model, [1, 1, 0]), attended(model, [1, 1, 1]))
    assert drop_mask(model) == 0


def test_what_depends_on_other_inputs_too_stays():
    # Of each pair of tokens their likeness, which is no mask, and of each key whether it counts.
    likeness = [
        helper.make_node("Transpose", ["rows"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["rows", "columns"], ["likeness"]),
        helper.make_node("Cast", ["mask"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["likeness", "numbers"], ["sum"]),
        helper.make_node("Unsqueeze", ["sum", "axis"], ["bias"]),
    ]
    model = attention(*likeness, place=5, reads="bias")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1]), "axis"))
    before = model.SerializeToString()
    assert drop_mask(model) == 0
    assert model.SerializeToString() == before


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta"])
def test_no_attention_of_the_architectures_reads_a_mask(tmp_path, kind):
    classifier = load_classifier(tiny.tiny_checkpoint(tmp_path / "checkpoint", kind)).eval()
    graph, fused = artefact.Graph(classifier).eval(), tmp_path / "fused.onnx"
    int8.export(graph, classifier, artefact.probe(8, 8, 0), tmp_path / "exported.onnx")
    int8.fuse(classifier.config, tmp_path / "exported.onnx", fused)
    nodes = onnx.load(fused).graph.node
    attentions = [node for node in nodes if node.op_type == "MultiHeadAttention"]
    # With transformers 4 DistilBert's is not fused, and keeps its mask.
    assert len(attentions) == 1 or kind == "DistilBert"
    assert not [node for node in attentions if any(node.input[4:])]
    assert not [node for node in nodes if "mask" in node.input and attentions]
    int8.check(graph, fused, [artefact.probe(9, 9, 0), artefact.probe(3, 3, 0)])
