"""The targets beside cpu: built, checked and served on doubles of their hardware, and refused without it."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import machine
import neuron_cores
import neuron_runtime
import pytest
import tiny
import torch
import torch_neuron
import torch_neuronx
from intent_model import IntentModel
from neuron_model import NeuronModel

from model import archive, build, device, neuron, recipes
from model.command import main
from model.order import Order
from model.problem import BuildProblem, UserProblem

DOUBLES = Path(machine.__file__).parent


@pytest.fixture
def order(tmp_path):
    source = tiny.tiny_checkpoint(tmp_path / "tiny")
    return lambda target, recipe="tuned": Order(
        str(source), target, recipe, tiny.tiny_corpus(tmp_path), 1, tmp_path / "store", None
    )


@pytest.fixture
def no_device(tmp_path, monkeypatch):
    """A machine without accelerators, whatever this one has."""
    monkeypatch.setattr(neuron_cores, "DEVICES", tmp_path)
    monkeypatch.setattr(device, "DEVICES", tmp_path)
    monkeypatch.delenv("NEURON_DOUBLE", raising=False)


def one_line(text):
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


CUDA = pytest.param(
    "cuda", marks=pytest.mark.skipif(not machine.RECORDS, reason="CUDA graphs cannot be recorded on this torch")
)


@pytest.mark.parametrize("target", ["inf1", "inf2", CUDA])
def test_a_target_is_compiled_checked_on_its_device_and_archived(order, tmp_path, target):
    with machine.inferentia(tmp_path, 2), machine.gpu(tmp_path):
        path = build.build(order(target))
    facts = archive.read_facts(path)
    found = recipes.find_recipe(target, "tuned")
    assert (facts["target"], facts["engine"], facts["precision"]) == (target, found.engine, found.precision)
    assert facts["buckets"] == list(recipes.BUCKETS)
    assert (facts["parity"]["passed"], facts["parity"]["agreement"]) == (True, 1.0)
    with zipfile.ZipFile(path) as mar:
        names = mar.namelist()
        config = mar.read("model-config.yaml").decode()
    assert set(facts["graphs"]) <= set(names)
    assert f"intent_{target}.py" in names
    assert f"deviceType: {'gpu' if target == 'cuda' else 'cpu'}\n" in config
    assert not [name for name in names if "compiler" in name]


@pytest.mark.parametrize("target", ["inf1", "inf2"])
def test_parity_goes_through_the_target_s_own_inference(order, tmp_path, monkeypatch, target):
    made = NeuronModel.infer
    monkeypatch.setattr(NeuronModel, "infer", lambda self, rows: made(self, rows)[1:] + made(self, rows)[:1])
    with machine.inferentia(tmp_path, 2), pytest.raises(BuildProblem, match="parity: only"):
        build.build(order(target))


@pytest.mark.parametrize("target", ["inf1", "inf2"])
def test_without_the_device_it_compiles_and_says_that_parity_was_not_checked(order, tmp_path, no_device, capsys, target):
    path = build.build(order(target))
    out = capsys.readouterr().out
    assert "parity   NOT CHECKED: no Inferentia on this machine: there is no" in out
    facts = archive.read_facts(path)
    assert facts["parity"]["passed"] is None
    assert facts["parity"]["not_run"].startswith("no Inferentia on this machine")
    with machine.inferentia(tmp_path, 2):
        build.build(order(target))
    assert "compile  skipped" in capsys.readouterr().out
    assert archive.read_facts(path)["parity"]["passed"] is True


def recorded(monkeypatch, package):
    """Return the keyword arguments of each call of a package's trace from now on."""
    calls, made = [], package.trace

    def trace(func, inputs, **arguments):
        calls.append(arguments)
        return made(func, inputs, **arguments)

    monkeypatch.setattr(package, "trace", trace)
    return calls


def test_inf1_s_article_is_the_published_recipe(order, no_device, monkeypatch):
    calls = recorded(monkeypatch, torch_neuron)
    path = build.build(order("inf1", "article"))
    logs = order("inf1").store / "artefacts" / "tiny-inf1-article" / "compiler-512"
    assert calls == [{"compiler_args": ["-O2"], "verbose": 1, "compiler_workdir": str(logs)}]
    assert any(logs.iterdir())
    facts = archive.read_facts(path)
    assert (facts["buckets"], facts["compiler_args"], facts["precision"]) == ([512], ["-O2"], "fp32")


def test_inf2_names_its_target_where_the_device_is_missing(order, tmp_path, no_device, monkeypatch):
    without = neuron.arguments_of(torch_neuronx, recipes.find_recipe("inf2", "article"), "inf2", tmp_path)
    assert (without["cpu_backend"], without["compiler_args"][-2:]) == (True, ["--target", "inf2"])
    with machine.inferentia(tmp_path, 2):
        there = neuron.arguments_of(torch_neuronx, recipes.find_recipe("inf2", "article"), "inf2", tmp_path)
    assert there == {"compiler_workdir": str(tmp_path), "compiler_args": ["--auto-cast", "none"]}
    monkeypatch.setattr(torch_neuronx, "trace", lambda func, example_inputs: None)
    with pytest.raises(UserProblem, match="compiles on an Inferentia2 only"):
        neuron.arguments_of(torch_neuronx, recipes.find_recipe("inf2", "article"), "inf2", tmp_path)


def test_a_compiler_that_fails_is_one_line_with_its_logs(order, no_device, monkeypatch):
    def trace(*_, **__):
        raise RuntimeError("neuron-cc failed\nwith a long story")

    monkeypatch.setattr(torch_neuron, "trace", trace)
    with pytest.raises(
        BuildProblem, match=r"^compile: inf1, 16 tokens: neuron-cc failed; the compiler's logs: .*compiler-16$"
    ):
        build.build(order("inf1"))


@pytest.mark.parametrize("kind", ["DistilBert", "Roberta"])
def test_other_architectures_are_compiled_with_the_same_inputs(tmp_path, kind):
    source = tiny.tiny_checkpoint(tmp_path / kind, kind)
    with machine.inferentia(tmp_path, 2):
        tiny.tiny_artefact(tmp_path / "artefact", "tuned", source, "inf2")
    graph = torch.jit.load(str(tmp_path / "artefact" / "model-16.pt"))
    assert [list(row) for row in graph.shapes.tolist()] == [[1, 16]] * 3
    reference = IntentModel(tiny.tiny_artefact(tmp_path / "cpu", "article", source))
    assert reference.buckets == [512]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("inf1", "no Inferentia on this machine: there is no"),
        ("inf2", "no Inferentia on this machine: there is no"),
        ("cuda", "no NVIDIA GPU on this machine: there is no"),
    ],
)
@pytest.mark.parametrize("command", [["device"], ["serve", "start", "--archive", "any.mar"]])
def test_a_target_without_its_device_is_refused_in_one_line(no_device, capsys, command, target, problem):
    assert main([*command, "--target", target]) == 2
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"model: --target {target}: {problem}")
    assert "docs/hardware.md" in line


PLACEHOLDER = "WRONG PACKAGE. Please install the package from Neuron Repository - pip.repos.neuron.amazonaws.com"


@pytest.mark.parametrize(("target", "package"), [("inf1", "torch_neuron"), ("inf2", "torch_neuronx")])
@pytest.mark.parametrize("action", ["build", "serve"])
def test_a_target_with_the_public_index_s_namesake_is_refused_in_one_line(
    order, tmp_path, monkeypatch, capsys, action, target, package
):
    made = order(target)
    with machine.inferentia(tmp_path, 2):
        path = build.build(made)
        capsys.readouterr()
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / f"{package}.py").write_text(f"raise ImportError({PLACEHOLDER!r})\n")
        monkeypatch.delitem(sys.modules, package)
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        state = ["--state", str(tmp_path / "state"), "--port", "0"]
        arguments = {
            "build": ["build", "--target", target, "--model", made.model, "--store", str(made.store)],
            "serve": ["serve", "start", "--target", target, "--archive", str(path), *state],
        }
        assert main(arguments[action]) == 2
    line = one_line(capsys.readouterr().err)
    assert PLACEHOLDER in line
    assert f"-r requirements/{target}.txt" in line


def test_a_gpu_that_torch_does_not_find_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert main(["build", "--target", "cuda", "--store", str(tmp_path / "store")]) == 2
    line = one_line(capsys.readouterr().err)
    assert "finds no NVIDIA GPU" in line
    assert "requirements/cuda.txt" in line


@pytest.mark.parametrize(
    ("target", "wanted", "workers"),
    [
        ("cpu", None, 3),
        ("cpu", 7, 7),
        ("inf1", None, 4),
        ("inf2", None, 2),
        ("inf2", 1, 1),
        ("cuda", None, 1),
        ("cuda", 3, 3),
    ],
)
def test_the_device_says_how_many_workers_there_are(tmp_path, monkeypatch, target, wanted, workers):
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with machine.inferentia(tmp_path, 4), machine.gpu(tmp_path):
        assert device.workers_for(target, wanted, 4) == workers


@pytest.mark.parametrize(
    ("target", "wanted", "workers"), [("cpu", None, 1), ("cpu", 2, 2), ("cuda", None, 1), ("inf1", None, 2)]
)
def test_several_models_have_a_worker_each_or_share_the_neuroncores(tmp_path, monkeypatch, target, wanted, workers):
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "0-11")
    with machine.gpu(tmp_path):
        assert device.workers_for(target, wanted, 4, 6) == workers


def test_more_models_than_neuroncores_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with (
        machine.inferentia(tmp_path, 4),
        pytest.raises(UserProblem, match="one worker each, 6 models: there are 4 NeuronCores"),
    ):
        device.workers_for("inf1", None, 8, 6)


def test_more_workers_than_neuroncores_are_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with machine.inferentia(tmp_path, 2), pytest.raises(UserProblem, match="--workers 8: there are 2 NeuronCores"):
        device.workers_for("inf2", 8, 8)


def test_the_device_is_described(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with machine.inferentia(tmp_path, 4), machine.gpu(tmp_path):
        assert [main(["device", "--target", target]) for target in ("inf1", "inf2", "cuda")] == [0, 0, 0]
    assert capsys.readouterr().out.splitlines() == [
        "device   inf1: 1 chips, NeuronCores 0,1,2,3",
        "device   inf2: 1 chips, NeuronCores 0,1",
        "device   cuda: 1 GPUs",
    ]


def with_doubles(path, copy):
    """Copy an archive and add the doubles of Neuron, which workers then import from their model's folder."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(copy, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        for name in ("neuron_runtime.py", "torch_neuronx.py"):
            target.writestr(name, (DOUBLES / name).read_bytes())
    return copy


def test_torchserve_runs_one_worker_per_neuroncore(order, tmp_path, monkeypatch, capsys):
    """A real TorchServe: two workers, each with a core of its own, answering as agreed."""
    state = tmp_path / "state"
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with machine.inferentia(tmp_path, 2):
        archived = with_doubles(build.build(order("inf2")), tmp_path / "inf2.mar")
        machine.neuron_folder(tmp_path / "server", 2)
        monkeypatch.setenv("NEURON_DOUBLE", str(tmp_path / "server" / "cores"))
        monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
        assert main([*tiny.start_command(state, archived), "--target", "inf2"]) == 0
    try:
        record = json.loads((state / "server.json").read_text())
        assert (record["target"], record["workers"]) == ("inf2", 2)
        owners = [(tmp_path / "server" / "cores" / core).read_text() for core in "01"]
        assert len(set(owners)) == 2
        for owner in owners:
            environment = Path(f"/proc/{owner}/environ").read_bytes().split(b"\0")
            assert b"NEURON_RT_VISIBLE_CORES=0,1" in environment
    finally:
        assert main(["serve", "stop", "--state", str(state)]) == 0


def test_the_double_s_runtime_is_woken_once(tmp_path):
    """Whatever else these tests do, this process owns one core at most: it was pinned before the runtime woke."""
    assert len(neuron_runtime.owned_cores()) <= 1
