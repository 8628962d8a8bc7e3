"""The cpu model's session in onnxruntime."""

from __future__ import annotations

import cpu_model
import processor
import pytest
from intent_model import BadArtefact

OPTION = "session.x64quantprecision"


def session_options(monkeypatch, folder, cpuinfo):
    """The options of the session that is asked for on a machine of which Linux says this; None: it says nothing."""
    onnxruntime = pytest.importorskip("onnxruntime")
    if cpuinfo is not None:
        (folder / "cpuinfo").write_text(cpuinfo)
    monkeypatch.setattr(processor, "CPUINFO", folder / "cpuinfo")
    asked = []

    def refuse(path, options, providers):
        asked.append(options)
        raise RuntimeError("no model here")

    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    with pytest.raises(BadArtefact, match="no model here"):
        cpu_model.load_onnx(folder / "model.onnx", threads=1)
    return asked[0]


@pytest.mark.parametrize(
    "cpuinfo",
    [
        "processor\t: 0\nflags\t\t: fpu avx2 avx512f\n",
        "processor\t: 0\nFeatures\t: fp asimd\n",
        "model name\t: avx512_vnni\nflags\t\t: fpu avx2\n",
        "",
        None,
    ],
)
def test_int8_is_summed_the_slow_way_where_it_might_overflow(monkeypatch, tmp_path, cpuinfo):
    options = session_options(monkeypatch, tmp_path, cpuinfo)
    assert options.get_session_config_entry(OPTION) == "1"


@pytest.mark.parametrize("name", ["avx512_vnni", "avx_vnni"])
def test_int8_is_summed_the_fast_way_where_vnni_cannot_overflow(monkeypatch, tmp_path, name):
    options = session_options(monkeypatch, tmp_path, f"processor\t: 0\nflags\t\t: fpu avx2 {name} rdpid\n")
    with pytest.raises(RuntimeError, match=OPTION):
        options.get_session_config_entry(OPTION)


def test_additions_are_not_fused_into_slower_operators(monkeypatch, tmp_path):
    options = session_options(monkeypatch, tmp_path, None)
    off = options.get_session_config_entry("optimization.disable_specified_optimizers")
    assert off.split(";") == ["SkipLayerNormFusion", "BiasGeluFusion"]
