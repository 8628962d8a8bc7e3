"""The cpu model's session in onnxruntime."""

from __future__ import annotations

import cpu_model
import pytest
from intent_model import BadArtefact


def test_additions_are_not_fused_into_slower_operators():
    pytest.importorskip("onnxruntime")
    off = cpu_model.session_options(threads=1).get_session_config_entry("optimization.disable_specified_optimizers")
    assert off.split(";") == ["SkipLayerNormFusion", "BiasGeluFusion"]


def test_a_file_that_is_no_graph_is_a_bad_artefact(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "model.onnx").write_text("not a graph")
    with pytest.raises(BadArtefact, match="model.onnx: not a model that onnxruntime can load"):
        cpu_model.load_onnx(tmp_path / "model.onnx", threads=1)
