"""The row of the first token: kept alone where the head reads no other, with the same logits."""

import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
from onnx import TensorProto, helper

from model import artefact, int8
from model.checkpoint import load_classifier
from model.first_token import keep_first_row

WIDTH = 4


@pytest.fixture(params=["Bert", "DistilBert", "Roberta"])
def exported(request, tmp_path):
    """(classifier, ONNX file in fp32, as exported) of each architecture."""
    classifier = load_classifier(tiny.tiny_checkpoint(tmp_path / "checkpoint", request.param)).eval()
    graph, path = artefact.Graph(classifier).eval(), tmp_path / "exported.onnx"
    int8.export(graph, classifier, artefact.probe(8, 8, 0), path)
    return classifier, path


def test_the_last_layer_s_row_wise_operators_see_one_row(exported, tmp_path):
    classifier, path = exported
    int8.fuse(classifier.config, path, tmp_path / "fused.onnx")
    fused = onnx.load(tmp_path / "fused.onnx")
    narrow = [node for node in fused.graph.node if any(name.endswith("_first_row") for name in node.input)]
    assert {node.op_type for node in narrow} == {"MatMul", "Add"}
    int8.check(
        artefact.Graph(classifier).eval(), tmp_path / "fused.onnx", [artefact.probe(9, 9, 0), artefact.probe(3, 3, 0)]
    )


def encoder(head: list, head_reads: str = "hidden"):
    """A graph of one row-wise layer (a product, an addition) and a head, and its weights."""
    generator = np.random.default_rng(1)
    weights = {
        "weight": generator.normal(size=(WIDTH, WIDTH)),
        "bias": generator.normal(size=WIDTH),
        "index": np.array(0),
        "other_index": np.array(1),
    }
    initializers = [
        onnx.numpy_helper.from_array(value.astype(np.int64 if "index" in name else np.float32), name)
        for name, value in weights.items()
    ]
    layer = [
        helper.make_node("MatMul", ["rows", "weight"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["hidden"]),
    ]
    graph = helper.make_graph(
        [*layer, *head],
        "encoder",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "tokens", WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = np.random.default_rng(2).normal(size=(1, 5, WIDTH)).astype(np.float32)
    return session.run(None, {"rows": rows})[0]


def take(index: str, axis: int = 1):
    return helper.make_node("Gather", ["hidden", index], ["logits"], axis=axis)


def test_a_chain_before_the_head_is_cut_where_it_begins():
    model = encoder([take("index")])
    before = answer(model)
    assert keep_first_row(model) == 2
    assert [node.op_type for node in model.graph.node] == ["Slice", "MatMul", "Add", "Gather"]
    np.testing.assert_allclose(answer(model), before, rtol=1e-6)


@pytest.mark.parametrize(
    "head",
    [
        [take("other_index")],
        [take("index", axis=2)],
        [helper.make_node("ReduceMean", ["hidden"], ["logits"], axes=[1])],
        [helper.make_node("Constant", [], ["unread"], value_int=0), take("unread")],
    ],
    ids=["another row", "another axis", "all rows", "an index in a form that is not looked into"],
)
def test_a_head_that_reads_more_changes_nothing(head):
    model = encoder(head)
    before = model.SerializeToString()
    assert keep_first_row(model) == 0
    assert model.SerializeToString() == before


def test_a_row_that_somebody_else_reads_too_stays_whole():
    head = [
        helper.make_node("Gather", ["hidden", "index"], ["first"], axis=1),
        helper.make_node("ReduceMean", ["hidden"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("Sub", ["first", "mean"], ["logits"]),
    ]
    model = encoder(head)
    before = answer(model)
    assert keep_first_row(model) == 0
    np.testing.assert_array_equal(answer(model), before)


def attended(key: str = "rows"):
    """A graph whose one layer is attention, and a head that takes the first row."""
    products = [helper.make_node("MatMul", ["rows", f"{name}_weight"], [name]) for name in ("query", "key", "value")]
    inputs = ["query", "query" if key == "query" else "key", "value"]
    attention = helper.make_node("MultiHeadAttention", inputs, ["hidden"], num_heads=2, domain="com.microsoft")
    model = encoder([take("index")])
    del model.graph.node[:2]
    for position, node in enumerate([*products, attention]):
        model.graph.node.insert(position, node)
    generator = np.random.default_rng(3)
    for name in ("query", "key", "value"):
        weight = generator.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, f"{name}_weight"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def test_attention_asks_with_the_first_row_for_keys_and_values_of_all():
    model = attended()
    before = answer(model)
    assert keep_first_row(model) == 2
    inputs = {node.output[0]: list(node.input) for node in model.graph.node}
    assert inputs["query"] == ["rows_first_row", "query_weight"]
    assert inputs["key"] == ["rows", "key_weight"]
    assert inputs["value"] == ["rows", "value_weight"]
    np.testing.assert_allclose(answer(model), before, rtol=1e-5)


def test_a_query_that_is_the_key_as_well_stays_whole():
    model = attended(key="query")
    before = answer(model)
    assert keep_first_row(model) == 0
    np.testing.assert_array_equal(answer(model), before)


@pytest.mark.parametrize("how", ["a bias by row", "one way"])
def test_a_query_whose_place_matters_stays_whole(how):
    model = attended()
    attention = next(node for node in model.graph.node if node.op_type == "MultiHeadAttention")
    if how == "one way":
        attention.attribute.append(helper.make_attribute("unidirectional", 1))
    else:
        bias = np.random.default_rng(4).normal(size=(1, 2, 5, 5)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(bias, "bias_by_row"))
        attention.input.extend(["", "", "bias_by_row"])
    before = answer(model)
    assert keep_first_row(model) == 0
    np.testing.assert_array_equal(answer(model), before)
