"""The intent model on a GPU, with CUDA graphs that are recorded and replayed on the CPU."""

from __future__ import annotations

import inspect
import os
from unittest import mock

import intent_cuda
import machine
import pytest
import tiny
import torch
from cuda_model import CapturedGraph, CudaModel, require_cuda
from intent_cuda import IntentCuda
from intent_model import BadArtefact, IntentModel
from missing_device import MissingDevice
from ts.context import Context
from ts.utils.util import list_classes_from_module

pytestmark = pytest.mark.skipif(not machine.RECORDS, reason="CUDA graphs cannot be recorded on this torch")
TEXTS = ["where is my order", "refund", "cancel it 12 !", "when will it come " * 10]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Artefacts of one checkpoint: on the CPU, and by both recipes for a GPU."""
    root = tmp_path_factory.mktemp("cuda")
    source = tiny.tiny_checkpoint(root / "tiny")
    with machine.gpu(root):
        made = {recipe: tiny.tiny_artefact(root / recipe, recipe, source, "cuda") for recipe in ("tuned", "article")}
        yield {"cpu": tiny.tiny_artefact(root / "cpu", "fp32", source), **made}


@pytest.mark.parametrize(("recipe", "tolerance"), [("tuned", 0.02), ("article", 1e-5)])
def test_it_answers_as_the_cpu_does(folders, recipe, tolerance):
    reference, model = IntentModel(folders["cpu"]), CudaModel(folders[recipe])
    for text in TEXTS:
        expected, found = (one.probabilities(one.tokenize(text)) for one in (reference, model))
        assert found == pytest.approx(expected, abs=tolerance)


def test_the_tuned_recipe_captures_a_half_precision_graph_per_bucket(folders):
    model = CudaModel(folders["tuned"])
    assert {length: type(graph) for length, graph in model.graph.items()} == dict.fromkeys(model.buckets, CapturedGraph)
    assert model.graph[16].logits.dtype == machine.half()
    assert CudaModel(folders["article"]).buckets == [512]
    assert not isinstance(CudaModel(folders["article"]).graph, dict)


def test_a_captured_graph_takes_its_own_length_only(folders):
    with pytest.raises(KeyError):
        CudaModel(folders["tuned"]).infer([[1] * 17] * 3)


def test_an_inference_waits_for_the_gpu_once(folders):
    model = CudaModel(folders["tuned"])
    stream = torch.cuda.current_stream()
    before = stream.synchronize.call_count
    model.infer([[1] * 16] * 3)
    assert stream.synchronize.call_count == before + 1


def test_a_damaged_file_is_refused_by_name(folders, tmp_path):
    for name in ("artefact.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folders["tuned"] / name).read_bytes())
    (tmp_path / "model.pt").write_bytes(b"nonsense")
    with pytest.raises(BadArtefact, match="model.pt: cannot be loaded onto cpu"):
        CudaModel(tmp_path)


def test_without_a_gpu_it_refuses_in_one_line():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(MissingDevice, match=r"the target cuda: torch \S+, built .* finds no NVIDIA GPU") as caught:
        require_cuda()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "visible", "seen"),
    [(1, None, "1"), (0, "2,3", "2"), (1, "GPU-a, GPU-b", "GPU-b"), (None, "2", "2"), (None, None, None)],
)
def test_the_worker_sees_the_gpu_that_torchserve_gives_and_no_other(folders, monkeypatch, given, visible, seen):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible or "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    service = IntentCuda()
    context = Context("intent", str(folders["tuned"]), {}, 1, given, "0", model_yaml_config={"threads": 1})
    context.metrics = mock.Mock()
    service.initialize(context)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == seen
    assert isinstance(service.model, CudaModel)


def test_torchserve_finds_exactly_one_class():
    assert [found.__name__ for found in list_classes_from_module(intent_cuda)] == ["IntentCuda"]
    assert "handle" not in dict(inspect.getmembers(intent_cuda, inspect.isfunction))
