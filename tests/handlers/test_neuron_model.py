"""The intent model on Inferentia, on a double of torch_neuron and torch_neuronx that enforces what AWS documents of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import intent_inf1
import intent_inf2
import machine
import neuron_model
import neuron_runtime
import pytest
import tiny
import torch
from intent_model import BadArtefact, IntentModel
from missing_device import MissingDevice
from neuron_model import Inf1Model, Inf2Model
from ts.utils.util import list_classes_from_module

DOUBLES = Path(machine.__file__).parent
MODELS = {"inf1": Inf1Model, "inf2": Inf2Model}
TEXTS = ["where is my order", "refund", "cancel it 12 !", "when will it come " * 10, "when will it come " * 400]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Artefacts of one checkpoint for each target, on a machine with one chip of two cores."""
    root = tmp_path_factory.mktemp("neuron")
    source = tiny.tiny_checkpoint(root / "tiny")
    with machine.inferentia(root, 2):
        yield {target: tiny.tiny_artefact(root / target, None, source, target) for target in ("cpu", *MODELS)}


@pytest.mark.parametrize("target", MODELS)
def test_it_answers_as_the_cpu_does_at_every_bucket(folders, target):
    reference, model = IntentModel(folders["cpu"]), MODELS[target](folders[target])
    assert list(model.graph) == model.buckets == [16, 32, 64, 128, 512]
    for text in TEXTS:
        here, there = (json.loads(one.answer(json.dumps({"text": text}).encode()).body) for one in (model, reference))
        change = abs(here.pop("confidence") - there.pop("confidence"))
        assert change <= 2e-6
        assert [other["intent"] for other in here.pop("alternatives")] == [o["intent"] for o in there.pop("alternatives")]
        assert here == there


@pytest.mark.parametrize("target", MODELS)
def test_a_length_that_was_not_compiled_is_refused_by_the_runtime(folders, target):
    graph = MODELS[target](folders[target]).graph[16]
    ids = torch.ones((1, 17), dtype=torch.int64)
    with pytest.raises(RuntimeError, match="The following operation failed in the TorchScript interpreter") as caught:
        graph(ids, ids, ids)
    if neuron_runtime.CARRIES_TEXT:
        assert "Incorrect tensor shape at input #0: received 17, expected 16" in str(caught.value)


@pytest.mark.parametrize(("target", "operator"), [("inf1", "forward_v2_1"), ("inf2", "forward_v3")])
def test_a_file_is_refused_before_its_package_is_imported(folders, target, operator):
    code = f"import torch; torch.jit.load({str(folders[target] / 'model-16.pt')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert f"Unknown builtin op: neuron::{operator}" in done.stderr


def test_the_artefact_of_one_chip_is_refused_on_the_other(folders, tmp_path):
    """In a process that knows one package only, as a worker does."""
    code = f"""
import os, sys
sys.path[:0] = [{str(DOUBLES)!r}, {str(Path(neuron_model.__file__).parent)!r}]
from pathlib import Path
from intent_model import BadArtefact
from neuron_model import Inf2Model
try:
    Inf2Model(Path({str(folders["inf1"])!r}))
except BadArtefact as bad:
    print(bad)
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "NEURON_RT_VISIBLE_CORES": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "model-16.pt: cannot be loaded onto NeuronCore 1: " in done.stdout, done.stderr
    assert "neuron::forward_v2_1" in done.stdout


WORKER = """
import sys
sys.path[:0] = [{doubles!r}, {handlers!r}]
from pathlib import Path
import neuron_runtime
from neuron_model import Inf2Model
Inf2Model(Path({folder!r}))
print(neuron_runtime.owned_cores(), flush=True)
sys.stdin.read()
"""


def worker(code, environment):
    """Start a process that loads the model as a worker does, and return it with its first line."""
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return child, child.stdout.readline().strip()


def test_workers_own_one_core_each_and_one_that_is_not_pinned_finds_none(folders, tmp_path):
    machine.neuron_folder(tmp_path, 2)
    code = WORKER.format(doubles=str(DOUBLES), handlers=str(DOUBLES.parents[1] / "handlers"), folder=str(folders["inf2"]))
    environment = {**os.environ, "TMPDIR": str(tmp_path), "NEURON_DOUBLE": str(tmp_path / "cores")}
    pinned = [worker(code, {**environment, "NEURON_RT_VISIBLE_CORES": "0-1"}) for _ in range(2)]
    unpin = "import neuron_model; neuron_model.claim_core = lambda _: 9\nimport neuron_runtime"
    unpinned = code.replace("import neuron_runtime", unpin)
    unpinned_environment = {name: value for name, value in environment.items() if name != "NEURON_RT_VISIBLE_CORES"}
    greedy = worker(unpinned, unpinned_environment)
    try:
        assert [said for _, said in pinned] == ["[0]", "[1]"]
        assert greedy[1] == ""
        _, error = greedy[0].communicate(timeout=60)
        assert "NeuronCore(s) not available - Requested:nc0-nc0 Available:0" in error
        if neuron_runtime.CARRIES_TEXT:
            assert "The PyTorch Neuron Runtime could not be initialized" in error
    finally:
        for child, _ in [*pinned, greedy]:
            child.kill()
            child.communicate()


@pytest.mark.parametrize(("target", "package"), [("inf1", "torch_neuron"), ("inf2", "torch_neuronx")])
def test_a_missing_package_and_the_public_index_s_namesake_are_refused_in_one_line(tmp_path, monkeypatch, target, package):
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(MissingDevice, match=f"needs the package {package}, which cannot be imported: No module named"):
        neuron_model.import_neuron(target)
    text = "WRONG PACKAGE. Please install the package from Neuron Repository - pip.repos.neuron.amazonaws.com"
    (tmp_path / f"{package}.py").write_text(f"raise ImportError({text!r})\n")
    with pytest.raises(MissingDevice) as caught:
        neuron_model.import_neuron(target)
    assert f"imported: {text}; install it from AWS's index: pip install" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_artefact_without_buckets_is_refused(folders, tmp_path):
    facts = json.loads((folders["inf2"] / "artefact.json").read_text())
    for name in ("tokenizer.json", "model-16.pt"):
        (tmp_path / name).write_bytes((folders["inf2"] / name).read_bytes())
    (tmp_path / "artefact.json").write_text(json.dumps({**facts, "buckets": None}))
    with pytest.raises(BadArtefact, match='"buckets" is missing'):
        Inf2Model(tmp_path)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_a_damaged_graph_is_refused_by_name(folders, tmp_path, content):
    for path in folders["inf2"].glob("*.*"):
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    path = tmp_path / "model-64.pt"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(BadArtefact, match="model-64.pt: cannot be loaded onto NeuronCore") as caught:
        Inf2Model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("module", [intent_inf1, intent_inf2])
def test_torchserve_finds_exactly_one_class(module):
    assert len(list_classes_from_module(module)) == 1
