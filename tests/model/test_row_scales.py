"""Products in int8 with a scale for each row: how far from fp32 they may be, and what a row takes from another."""

import cpu_model
import numpy as np
import onnx
import onnxruntime
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from model import artefact, int8
from model.first_token import keep_first_row
from model.problem import BuildProblem
from model.row_scales import DEEPEST_GELU, STEPS, quantize_columns, scale_by_rows

WIDTH, COLUMNS = 24, 8
PRODUCT = helper.make_node("MatMul", ["rows", "weights"], ["products"])


def graph_of(nodes, *constants, result="products"):
    """A model that reads activations "rows" [1, tokens, width], with these operators and constants."""
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, [1, "tokens", "width"])
    found = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    constants = [onnx.numpy_helper.from_array(values, name) for name, values in constants]
    graph = helper.make_graph(nodes, "graph", [rows], [found], constants)
    opsets = [helper.make_opsetid("", int8.OPSET), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def run(model, rows):
    """What the engine makes of activations [n, width]."""
    options = cpu_model.session_options(threads=1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"rows": rows[None]})[0][0]


def multiplied(rows, weights):
    """The products in int8 of activations [n, width] and weights [width, columns], and the weights that were used."""
    model = graph_of([PRODUCT], ("weights", weights))
    assert scale_by_rows(model) == 1
    values = {given.name: onnx.numpy_helper.to_array(given) for given in model.graph.initializer}
    assert "weights" not in values
    return run(model, rows), values["weights_int8"] * values["weights_scale"]


def drawn(seed, magnitudes, shape):
    """Normal values whose rows have these magnitudes, by powers of ten; None: a row of zeros."""
    values = np.random.default_rng(seed).normal(size=shape)
    return (values * [[0.0 if power is None else 10.0**power] for power in magnitudes]).astype(np.float32)


def column_steps(weights):
    """The step of each column: what two neighbours come to where their signs are the same, in 127 steps."""
    pairs = weights.reshape(-1, 2, weights.shape[1])
    return np.maximum(*(np.maximum(sign * pairs, 0).sum(axis=1).max(axis=0) for sign in (1, -1))) / 127


MAGNITUDES = st.lists(st.one_of(st.none(), st.integers(-6, 6)), min_size=1, max_size=20)


@given(st.integers(0, 2**32 - 1), MAGNITUDES, st.lists(st.integers(-3, 3), min_size=COLUMNS, max_size=COLUMNS))
def test_a_product_is_as_near_as_half_a_step_of_its_row_and_of_its_column_allow(seed, magnitudes, powers):
    rows = drawn(seed, magnitudes, (len(magnitudes), WIDTH))
    weights = drawn(seed + 1, powers, (COLUMNS, WIDTH)).T.copy()
    found, used = multiplied(rows, weights)
    wide = rows.astype(np.float64)
    row_step, column_step = np.abs(wide).max(axis=1) / STEPS, column_steps(weights)
    allowed = np.outer(row_step, np.abs(used).sum(axis=0)) / 2 + np.outer(np.abs(wide).sum(axis=1), column_step) / 2
    # What float32 loses of scales and products on top.
    room = 1e-5 * np.outer(np.abs(wide).sum(axis=1), np.abs(weights).max(axis=0)) + np.finfo(np.float32).tiny
    assert (np.abs(found - wide @ weights) <= allowed + room).all()


@given(st.integers(0, 2**32 - 1), MAGNITUDES)
def test_what_gelu_gave_is_as_near_though_only_its_largest_value_is_sought(seed, magnitudes):
    given_rows = drawn(seed, magnitudes, (len(magnitudes), WIDTH))
    weights = drawn(seed + 1, [0] * COLUMNS, (COLUMNS, WIDTH)).T.copy()
    gelu = helper.make_node("Gelu", ["rows"], ["curved"], domain="com.microsoft")
    product = helper.make_node("MatMul", ["curved", "weights"], ["products"])
    rows = run(graph_of([gelu], result="curved"), given_rows)
    model = graph_of([gelu, product], ("weights", weights))
    assert scale_by_rows(model) == 1
    assert "Abs" not in {node.op_type for node in model.graph.node}
    used = np.rint(weights / (column_step := column_steps(weights))) * column_step
    row_step = np.maximum(np.abs(rows).max(axis=1), DEEPEST_GELU) / STEPS
    allowed = np.outer(row_step, np.abs(used).sum(axis=0)) / 2
    room = 1e-5 * np.outer(np.abs(rows).sum(axis=1), np.abs(weights).max(axis=0)) + 1e-6
    assert (np.abs(run(model, given_rows) - rows @ used) <= allowed + room).all()


def head(attributes, addends=COLUMNS):
    """A head of two linear layers, the first with these attributes: the model, and its weights and addends."""
    weights, last = drawn(5, [0] * COLUMNS, (COLUMNS, WIDTH)), np.eye(COLUMNS, dtype=np.float32)
    added = drawn(6, [1], (1, addends))[0]
    nodes = [
        PRODUCT_OF_ALL,
        helper.make_node("Gather", ["hidden", "index"], ["first"], axis=1),
        helper.make_node("Gemm", ["first", "weights", "addends"], ["pooled"], **attributes),
        helper.make_node("Tanh", ["pooled"], ["bent"]),
        helper.make_node("Gemm", ["bent", "last"], ["products"], transB=1),
    ]
    given = {
        "weights": weights,
        "last": last,
        "addends": added,
        "index": np.array(0),
        "same": np.eye(WIDTH, dtype=np.float32),
    }
    return graph_of(nodes, *given.items()), weights, added


PRODUCT_OF_ALL = helper.make_node("MatMul", ["rows", "same"], ["hidden"])


def products_of(model):
    return [node.output[0] for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]


def test_the_head_multiplies_in_int8_and_adds_what_it_added():
    model, weights, addends = head({"transB": 1})
    rows = drawn(7, [-1, 0, 1], (3, WIDTH))
    expected = np.tanh(rows[0] @ weights.T + addends)
    assert run(model, rows) == pytest.approx(expected, abs=1e-5)
    assert scale_by_rows(model) == 1  # the head is not counted: it alone would not make a model int8
    assert products_of(model) == ["hidden", "pooled"]
    found = run(model, rows)
    assert found == pytest.approx(expected, abs=0.02)
    assert (found != expected).any()


@pytest.mark.parametrize(
    "attributes", [{"transB": 1, "alpha": 2.0}, {"transB": 1, "beta": 0.5}, {"transB": 1, "transA": 1}], ids=str
)
def test_a_head_of_another_kind_stays_in_fp32(attributes):
    model, _, _ = head(attributes)
    assert scale_by_rows(model) == 1
    assert products_of(model) == ["hidden"]


def test_a_head_that_adds_one_number_to_all_stays_in_fp32():
    model, _, _ = head({"transB": 1}, addends=1)
    assert scale_by_rows(model) == 1
    assert products_of(model) == ["hidden"]


def test_weights_that_an_encoder_and_its_head_share_are_quantized_for_each():
    square = drawn(8, [0] * WIDTH, (WIDTH, WIDTH)) / 5
    nodes = [
        helper.make_node("MatMul", ["rows", "square"], ["hidden"]),
        helper.make_node("Gather", ["hidden", "index"], ["first"], axis=1),
        helper.make_node("Gemm", ["first", "square", "addends"], ["pooled"], transB=1),
        helper.make_node("Gemm", ["pooled", "same"], ["products"], transB=1),
    ]
    given = {"square": square, "addends": np.zeros(WIDTH, np.float32), "same": np.eye(WIDTH, dtype=np.float32)}
    model = graph_of(nodes, *given.items(), ("index", np.array(0)))
    rows = drawn(9, [0] * 4, (4, WIDTH))
    expected = run(model, rows)
    scale_by_rows(model)
    assert products_of(model) == ["hidden", "pooled"]
    assert run(model, rows) == pytest.approx(expected, abs=0.1)


def test_tensors_of_other_lengths_are_scaled_beside_each_other():
    # As positions relative to each other are, of which there are not as many as tokens.
    square = drawn(8, [0] * WIDTH, (WIDTH, WIDTH)) / 5
    nodes = [
        helper.make_node("MatMul", ["rows", "square"], ["mixed"]),
        helper.make_node("MatMul", ["positions", "square"], ["places"]),
        helper.make_node("Transpose", ["places"], ["columns"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["mixed", "columns"], ["products"]),
    ]
    model = graph_of(nodes, ("square", square), ("positions", drawn(3, [0] * 7, (7, WIDTH))[None]))
    rows = drawn(9, [0] * 4, (4, WIDTH))
    expected = run(model, rows)
    assert scale_by_rows(model) == 2
    assert run(model, rows) == pytest.approx(expected, abs=0.5)


def test_the_first_row_alone_and_all_rows_are_scaled_beside_each_other():
    square = drawn(8, [0] * WIDTH, (WIDTH, WIDTH)) / 5
    nodes = [
        helper.make_node("MatMul", ["rows", "square"], ["mixed"]),
        helper.make_node("Sub", ["rows", "mixed"], ["hidden"]),  # not row-wise by itself, as attention
        helper.make_node("MatMul", ["hidden", "square"], ["last"]),
        helper.make_node("Gather", ["last", "index"], ["products"], axis=1),
    ]
    model = graph_of(nodes, ("square", square), ("index", np.array(0)))
    rows = drawn(9, [0] * 4, (4, WIDTH))
    expected = run(model, rows)
    assert keep_first_row(model) == 1
    assert scale_by_rows(model) == 2
    assert [node.op_type for node in model.graph.node].count("ConstantOfShape") == 1
    assert run(model, rows) == pytest.approx(expected, abs=0.1)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_two_neighbours_of_one_sign_never_come_to_more_than_16_bits_hold(seed, width, powers):
    weights = drawn(seed, powers, (len(powers), width)).T
    quantized = quantize_columns("weights", weights)["weights_int8"].astype(np.int32)
    for sign in (1, -1):
        alike = np.maximum(sign * quantized, 0)
        together = alike[:-1:2] + alike[1::2]
        assert 255 * max(together.max(initial=0), alike.max()) < 2**15


@pytest.mark.parametrize("width", [1, 2, 3, 24, 385, 1536])
@pytest.mark.parametrize("tokens", [1, 2, 5, 16])
@pytest.mark.parametrize("sign", [1, -1])
def test_no_sum_overflows_whatever_the_processor(width, tokens, sign):
    # The most there can be: each activation the largest of its row, and neighbours in a column alike in sign and size.
    rows = np.full((tokens, width), sign, np.float32)
    weights = np.ones((width, COLUMNS), np.float32) * [1, -1, 0.5, -0.5, 1, -1, 0.3, -0.3]
    weights[1::3, 4:] *= -1
    weights = weights.astype(np.float32)
    found, used = multiplied(rows, weights)
    assert np.abs(used).sum() > 0
    assert found == pytest.approx(rows.astype(np.float64) @ used, rel=1e-5, abs=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 20))
def test_sums_of_large_activations_and_weights_are_exact(seed, width, tokens):
    generator = np.random.default_rng(seed)
    steps = generator.integers(64, STEPS, (tokens, width), endpoint=True)
    steps[:, 0] = STEPS
    rows = steps * generator.choice([-1, 1], (tokens, width)) / np.float32(128)
    weights = generator.uniform(0.5, 1, (width, COLUMNS)) * generator.choice([-1, 1], (width, COLUMNS))
    found, used = multiplied(rows.astype(np.float32), weights.astype(np.float32))
    assert found == pytest.approx(rows @ used, rel=1e-5, abs=1e-5 * width)


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
    onnx.save(graph_of([helper.make_node("Add", ["rows", "rows"], ["sums"])], result="sums"), tmp_path / "sum.onnx")
    with pytest.raises(BuildProblem, match="no matrix product was found"):
        int8.quantize_rows(tmp_path / "sum.onnx", tmp_path / "int8.onnx")


def as_run(folder, options):
    """The graph of an artefact as the engine runs it: its operators, and the types of its constants by their names."""
    options.optimized_model_filepath = str(folder / "as-run.onnx")
    onnxruntime.InferenceSession(str(folder / cpu_model.ONNX_GRAPH), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "as-run.onnx").graph
    return list(graph.node), {given.name: given.data_type for given in graph.initializer}


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta"])
def test_the_engine_runs_the_operators_that_were_chosen(tmp_path, kind):
    folder = tiny.tiny_artefact(tmp_path / "artefact", "tuned", tiny.tiny_checkpoint(tmp_path / kind, kind))
    nodes, constants = as_run(folder, cpu_model.session_options(threads=1))
    found = [node.op_type for node in nodes]
    # Query, key, value, attention's output, two of the feed-forward, and the head's first.
    assert found.count("MatMulIntegerToFloat") == 7
    assert "LayerNormalization" in found
    assert not {"SkipLayerNormalization", "BiasGelu"} & set(found)
    assert not [node.name for node in nodes if node.op_type == "MatMul" and set(node.input) & set(constants)]


def test_weights_that_layers_share_are_written_once(tmp_path):
    shared = tiny.tiny_checkpoint(tmp_path / "albert", "Albert", layers=2)
    folder = tiny.tiny_artefact(tmp_path / "artefact", "tuned", shared)  # the engine loads it to see that it runs
    graph = onnx.load(folder / cpu_model.ONNX_GRAPH).graph
    read = [node.input[1] for node in graph.node if node.op_type == "MatMulIntegerToFloat"]
    assert (len(read), len(set(read))) == (2 * 6 + 2, 6 + 2)  # before its layers an ALBERT widens its embeddings


def test_a_graph_that_the_engine_cannot_run_is_the_build_s_problem():
    def fails(rows):
        raise RuntimeError("zero points of size 64\nand a stack trace")

    with pytest.raises(BuildProblem, match="cannot run this model's ONNX form at 5 tokens: zero points of size 64; use"):
        int8.logits_of(fails, artefact.probe(5, 5, 0))
