"""Products in int8 with a scale for each row: how far from fp32 they may be, and what a row takes from another."""

import cpu_model
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model import int8
from model.problem import BuildProblem
from model.row_scales import STEPS, scale_by_rows

WIDTH, COLUMNS = 24, 8


def multiplied(rows, weights):
    """The products of activations [n, WIDTH] and weights [WIDTH, COLUMNS] in int8, and the weights that were used."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["products"])],
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "tokens", WIDTH])],
        [helper.make_tensor_value_info("products", TensorProto.FLOAT, [1, "tokens", COLUMNS])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    opsets = [helper.make_opsetid("", int8.OPSET), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    assert scale_by_rows(model) == 1
    values = {given.name: onnx.numpy_helper.to_array(given) for given in model.graph.initializer}
    assert "weights" not in values
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # sums that do not overflow, with VNNI or without
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"rows": rows[None]})[0][0], values["weights_int8"] * values["weights_scale"]


def drawn(seed, magnitudes, shape):
    """Normal values whose rows have these magnitudes, by powers of ten; None: a row of zeros."""
    values = np.random.default_rng(seed).normal(size=shape)
    return (values * [[0.0 if power is None else 10.0**power] for power in magnitudes]).astype(np.float32)


MAGNITUDES = st.lists(st.one_of(st.none(), st.integers(-6, 6)), min_size=1, max_size=20)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), MAGNITUDES, st.lists(st.integers(-3, 3), min_size=COLUMNS, max_size=COLUMNS))
def test_a_product_is_as_near_as_half_a_step_of_its_row_and_of_its_column_allow(seed, magnitudes, powers):
    rows = drawn(seed, magnitudes, (len(magnitudes), WIDTH))
    weights = drawn(seed + 1, powers, (COLUMNS, WIDTH)).T.copy()
    found, used = multiplied(rows, weights)
    wide = rows.astype(np.float64)
    row_step, column_step = (np.abs(values).max(axis=axis) / STEPS for values, axis in ((wide, 1), (weights, 0)))
    allowed = np.outer(row_step, np.abs(used).sum(axis=0)) / 2 + np.outer(np.abs(wide).sum(axis=1), column_step) / 2
    # What float32 loses of scales and products on top.
    room = 1e-5 * np.outer(np.abs(wide).sum(axis=1), np.abs(weights).max(axis=0)) + np.finfo(np.float32).tiny
    assert (np.abs(found - wide @ weights) <= allowed + room).all()


def test_a_row_with_an_outlier_changes_no_other():
    rows, weights = drawn(1, [0] * 5, (5, WIDTH)), drawn(2, [0] * COLUMNS, (COLUMNS, WIDTH)).T.copy()
    calm, _ = multiplied(rows, weights)
    rows[2, 7] = 1e4
    found, _ = multiplied(rows, weights)
    assert (np.delete(found, 2, axis=0) == np.delete(calm, 2, axis=0)).all()
    assert (found[2] != calm[2]).all()


def test_rows_and_columns_of_zeros_give_zeros():
    rows, weights = drawn(3, [0, None, 0], (3, WIDTH)), drawn(4, [0] * COLUMNS, (COLUMNS, WIDTH)).T.copy()
    weights[:, 5] = 0
    found, _ = multiplied(rows, weights)
    zero = np.zeros((3, COLUMNS), bool)
    zero[1], zero[:, 5] = True, True
    assert ((found == 0) == zero).all()


def test_a_graph_without_products_cannot_be_built_in_int8(tmp_path):
    tokens = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, "tokens", WIDTH]) for name in ("rows", "sums")]
    graph = helper.make_graph([helper.make_node("Add", ["rows", "rows"], ["sums"])], "sum", tokens[:1], tokens[1:])
    onnx.save(helper.make_model(graph), tmp_path / "sum.onnx")
    with pytest.raises(BuildProblem, match="no matrix product was found"):
        int8.quantize_rows(tmp_path / "sum.onnx", tmp_path / "int8.onnx")


def test_the_engine_runs_the_operators_that_were_chosen(tmp_path, monkeypatch):
    folder = tiny.tiny_artefact(tmp_path / "artefact", "tuned")
    run_as = tmp_path / "as-run.onnx"
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(run_as)
    monkeypatch.setattr(onnxruntime, "SessionOptions", lambda: options)
    cpu_model.load_onnx(folder / cpu_model.ONNX_GRAPH, threads=1)
    found = [node.op_type for node in onnx.load(run_as).graph.node]
    assert found.count("MatMulIntegerToFloat") == 6  # query, key, value, attention's output, two of the feed-forward
    assert found.count("LayerNormalization") == 2
    assert found.count("MultiHeadAttention") == found.count("Gelu") == 1
    assert not {"MatMul", "SkipLayerNormalization", "BiasGelu"} & set(found)
