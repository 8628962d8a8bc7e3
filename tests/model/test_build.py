"""The build: every step, what makes it stale, and what it refuses."""

from __future__ import annotations

import ast
import json
import os
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import onnx
import onnx.numpy_helper
import pytest
import tiny
import torch
from cpu_model import CpuModel

from model import archive, artefact, build, checkpoint, encoder, int8, lock, parity
from model.command import main
from model.corpus import Utterance, read_corpus
from model.fingerprint import of_file
from model.lock import only_build
from model.order import DEFAULT_CORPUS, OTHER_TASKS_CORPUS, Order, name_of
from model.problem import BuildProblem, UserProblem


@pytest.fixture
def order(tmp_path):
    # Of this seed no two intents lie closer than 0.2, and int8 moves them by 0.03: parity passes by no luck.
    source = tiny.tiny_checkpoint(tmp_path / "tiny", seed=5)
    return Order(str(source), "cpu", "fp32", tiny.tiny_corpus(tmp_path), 1, tmp_path / "store", None)


def steps(capsys):
    """Return which steps ran and which were skipped, as printed since the last call."""
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line[:1].isalpha()]
    return {step: "skipped" if rest.startswith("skipped") else "ran" for step, rest in lines}


def test_a_folder_becomes_an_archive_and_a_second_build_skips_every_step(order, capsys):
    path = build.build(order)
    assert path == order.store / "intent-tiny-cpu-fp32.mar"
    assert steps(capsys) == {"take": "ran", "compile": "ran", "parity": "ran", "archive": "ran"}
    before = of_file(path)
    build.build(order)
    assert steps(capsys) == {"take": "ran", "compile": "skipped", "parity": "skipped", "archive": "skipped"}
    assert of_file(path) == before


def test_a_second_build_in_the_same_store_waits_for_the_first(order, monkeypatch):
    said, told = [], threading.Event()

    def tell(text: str, **_: object) -> None:  # capsys loses what is printed while it is read
        said.append(text)
        if "another build works in" in text:
            told.set()

    monkeypatch.setattr(lock, "print", tell, raising=False)
    with only_build(order.store):
        second = threading.Thread(target=build.build, args=(order,))
        second.start()
        assert told.wait(60), said
        assert not (order.store / "artefacts").exists()
        assert second.is_alive()
    second.join()
    assert (order.store / "intent-tiny-cpu-fp32.mar").is_file()


def test_a_store_that_cannot_be_written_is_named(order, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserProblem, match="--store .*file/store: cannot be used"):
        build.build(replace(order, store=tmp_path / "file" / "store"))


def test_the_same_artefact_gives_the_same_archive_wherever_and_whenever(order, tmp_path):
    first = build.build(order)
    copy = tmp_path / "copy"
    shutil.copytree(order.store / "artefacts" / "tiny-cpu-fp32", copy)
    for path in copy.iterdir():
        os.utime(path, (1_000_000_000, 1_000_000_000))
    second = build.archive_step(copy, "cpu", "intent", tmp_path / "second.mar")
    assert of_file(first) == of_file(second)


def test_other_weights_compile_again(order, tmp_path, capsys):
    build.build(order)
    tiny.tiny_checkpoint(tmp_path / "tiny", seed=1)
    steps(capsys)
    build.build(order)
    assert steps(capsys) == {"take": "ran", "compile": "ran", "parity": "ran", "archive": "ran"}


def test_another_corpus_checks_parity_again_but_compiles_nothing(order, capsys):
    build.build(order)
    steps(capsys)
    order.corpus.write_text(tiny.CORPUS + "one more order\trefund\ttest\n", encoding="utf-8")
    build.build(order)
    assert steps(capsys) == {"take": "ran", "compile": "skipped", "parity": "ran", "archive": "ran"}


def test_a_broken_archive_is_written_again(order, capsys):
    path = build.build(order)
    path.write_bytes(path.read_bytes()[:1000])
    steps(capsys)
    build.build(order)
    assert steps(capsys)["archive"] == "ran"
    assert archive.read_facts(path)["name"] == "tiny"


def test_a_half_written_artefact_is_compiled_again(order, capsys):
    build.build(order)
    (order.store / "artefacts" / "tiny-cpu-fp32" / "model.pt").unlink()
    steps(capsys)
    build.build(order)
    assert steps(capsys)["compile"] == "ran"


def test_the_archive_holds_what_torchserve_and_the_handler_need(order):
    with zipfile.ZipFile(build.build(order)) as mar:
        assert sorted(mar.namelist()) == sorted(
            [
                "MAR-INF/MANIFEST.json", "MAR-INF/FINGERPRINT", "model-config.yaml", "artefact.json", "tokenizer.json",
                "model.pt", "cpu_model.py", "intent_codec.py", "intent_model.py", "intent_service.py", "intent_cpu.py",
                "worker_log.py", "worker_socket.py",
            ]
        )  # fmt: skip
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
        facts = json.loads(mar.read("artefact.json"))
    assert manifest["model"]["modelName"] == "intent"
    assert manifest["model"]["handler"] == "intent_cpu.py"
    assert (facts["target"], facts["recipe"], facts["buckets"], facts["random"]) == ("cpu", "fp32", None, False)
    assert facts["parity"]["passed"]
    assert facts["parity"]["agreement"] == 1.0
    assert facts["parity"]["reference_accuracy"] == facts["parity"]["artefact_accuracy"]


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta"])
@pytest.mark.parametrize("recipe", ["fp32", "article"])
def test_architectures_with_and_without_token_types_agree_with_their_checkpoints(order, tmp_path, kind, recipe):
    source = tiny.tiny_checkpoint(tmp_path / kind, kind)
    path = build.build(replace(order, model=str(source), recipe=recipe))
    facts = archive.read_facts(path)
    assert facts["parity"]["agreement"] == 1.0
    assert facts["parity"]["confidence_change"] < 1e-5
    assert facts["max_tokens"] == 512


def test_a_slow_only_tokenizer_is_converted(order, tmp_path):
    source = tmp_path / "tiny"
    (source / "tokenizer.json").unlink()
    (source / "tokenizer_config.json").unlink()
    (source / "vocab.txt").write_text("\n".join(tiny.VOCABULARY) + "\n", encoding="utf-8")
    build.build(order)
    model = CpuModel(order.store / "artefacts" / "tiny-cpu-fp32")
    words = ["[CLS]", "where", "is", "my", "order", "[SEP]"]
    assert model.tokenize("Where is my order").ids == [tiny.VOCABULARY.index(word) for word in words]


def test_parity_below_99_percent_stops_the_build_with_its_table(order, monkeypatch, capsys):
    made = CpuModel.probabilities

    def wrong(self, tokens):
        found = made(self, tokens)
        return found[1:] + found[:1] if len(tokens.ids) > 6 else found

    monkeypatch.setattr(CpuModel, "probabilities", wrong)
    with pytest.raises(BuildProblem, match=r"parity: only \d+\.\d\d% of the answers agree"):
        build.build(order)
    assert "agreement" in capsys.readouterr().out
    assert not (order.store / "intent-tiny-cpu-fp32.mar").exists()
    monkeypatch.setattr(CpuModel, "probabilities", made)
    build.build(order)
    assert steps(capsys)["parity"] == "ran"


def test_parity_counts_agreement_change_and_accuracy(tmp_path):
    utterances = [Utterance("", intent, "test") for intent in ("a", "b", "b")]
    expected = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]], dtype=torch.double)
    actual = torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.4, 0.6]], dtype=torch.double)
    found = parity.compare(expected, actual, ["a", "b"], utterances, "test")
    assert found.agreement == pytest.approx(2 / 3)
    assert found.confidence_change == pytest.approx(0.2)
    assert found.reference_accuracy == pytest.approx(2 / 3)
    assert found.artefact_accuracy == pytest.approx(1.0)
    assert not found.passed
    assert parity.compare(expected, actual, ["a", "c"], utterances, "test").reference_accuracy is None


def test_a_limit_takes_utterances_evenly():
    utterances = [Utterance(str(number), "a", "test") for number in range(10)]
    assert [utterance.text for utterance in parity.evenly(utterances, 5)] == ["0", "2", "4", "6", "8"]
    assert parity.evenly(utterances, 10) == utterances
    assert parity.evenly(utterances, None) == utterances


def test_a_trace_that_fixes_its_length_is_caught():
    class Fixed(torch.nn.Module):
        def forward(self, ids, mask, types):
            return ids.double().mean(dim=1, keepdim=True) / ids.shape[1]

    graph = artefact.Graph(tiny.tiny_classifier())
    with pytest.raises(BuildProblem, match="logits differ by"):
        artefact.check_lengths(graph, Fixed(), [16], 0)


def test_training_writes_a_plain_folder_with_a_card_and_is_skipped_when_nothing_changed(order, monkeypatch, capsys):
    monkeypatch.setattr(build, "new_minilm", lambda *_: (tiny.tiny_classifier(), tiny.tiny_tokenizer(order.store)))
    order = replace(order, model="minilm", epochs=1)
    assert build.build(order).name == "intent-minilm-tiny-cpu-fp32.mar"
    assert steps(capsys)["train"] == "ran"
    folder = order.store / "checkpoints" / "minilm-tiny"
    checkpoint.check_folder(folder)
    assert checkpoint.labels_of(checkpoint.load_classifier(folder)) == tiny.INTENTS
    card = json.loads((folder / "model-card.json").read_text())
    assert card["corpus"]["utterances"] == {"train": 45, "val": 0, "test": 15}
    assert card["corpus"]["sha256"] == of_file(order.corpus)
    assert card["weights_sha256"] == of_file(folder / "model.safetensors")
    assert (card["seed"], card["hyperparameters"]["epochs"], card["random"]) == (1, 1, False)
    assert 0 <= card["accuracy"]["overall"] <= 1
    assert set(card["accuracy"]["per_intent"]) == set(tiny.INTENTS)
    assert card["weights_sha256"] in (folder / "model-card.md").read_text()
    build.build(order)
    assert set(steps(capsys).values()) == {"skipped"}


@pytest.mark.parametrize("change", ["seed", "epochs", "corpus", "weights"])
def test_training_runs_again_when_an_input_changes(order, monkeypatch, capsys, change):
    monkeypatch.setattr(build, "new_minilm", lambda *_: (tiny.tiny_classifier(), tiny.tiny_tokenizer(order.store)))
    order = replace(order, model="minilm", epochs=1)
    corpus = read_corpus(order.corpus)
    build.obtain(order, "m", corpus)
    steps(capsys)
    if change == "corpus":
        order.corpus.write_text(tiny.CORPUS + "one more order\trefund\ttrain\n", encoding="utf-8")
        corpus = read_corpus(order.corpus)
    elif change == "weights":
        (order.store / "checkpoints" / "m" / "model.safetensors").write_bytes(b"cut short")
    else:
        order = replace(order, **{change: 2})
    build.obtain(order, "m", corpus)
    assert steps(capsys) == {"train": "ran"}


def test_bert_base_is_random_and_says_so_everywhere(order, monkeypatch, capsys):
    monkeypatch.setattr(build, "new_bert_base", lambda *_: (tiny.tiny_classifier(), tiny.tiny_tokenizer(order.store)))
    path = build.build(replace(order, model="bert-base"))
    assert "mean nothing" in capsys.readouterr().out
    assert archive.read_facts(path)["random"] is True
    folder = order.store / "checkpoints" / "bert-base-tiny"
    assert json.loads((folder / "model-card.json").read_text())["random"] is True
    assert "mean nothing" in (folder / "model-card.md").read_text()


def test_random_weights_need_not_agree(order, monkeypatch, capsys):
    monkeypatch.setattr(build, "new_bert_base", lambda *_: (tiny.tiny_classifier(), tiny.tiny_tokenizer(order.store)))
    monkeypatch.setattr(parity, "AGREEMENT_WANTED", 1.01)
    path = build.build(replace(order, model="bert-base"))
    assert "random weights" in capsys.readouterr().out
    assert archive.read_facts(path)["parity"]["passed"] is False
    with pytest.raises(BuildProblem, match="parity: only"):
        build.build(order)


def test_bert_base_is_twelve_layers_of_768(order):
    classifier, tokenizer = build.new_bert_base(read_corpus(order.corpus), 1)
    config = classifier.config
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (12, 768, len(tokenizer))
    assert checkpoint.labels_of(classifier) == tiny.INTENTS


def test_the_default_corpus_leaves_the_name_alone(order):
    assert name_of(replace(order, model="minilm", corpus=DEFAULT_CORPUS)) == "minilm"
    assert name_of(replace(order, model="minilm")) == "minilm-tiny"


def test_a_model_of_another_task_is_named_and_served_by_it_and_learns_its_column(order, monkeypatch, capsys):
    lines = tiny.CORPUS.replace("\tintent\t", "\turgency\t").splitlines(keepends=True)
    order.corpus.write_text("".join(lines) + "hm\t\ttrain\n", encoding="utf-8")
    monkeypatch.setattr(build, "new_minilm", lambda *_: (tiny.tiny_classifier(), tiny.tiny_tokenizer(order.store)))
    order = replace(order, model="minilm", task="urgency", epochs=1)
    path = build.build(order)
    assert path.name == "urgency-minilm-tiny-cpu-fp32.mar"
    facts = archive.read_facts(path)
    assert (facts["task"], facts["name"]) == ("urgency", "urgency-minilm-tiny")
    card = json.loads((order.store / "checkpoints" / "urgency-minilm-tiny" / "model-card.json").read_text())
    assert (card["task"], card["note"], card["hyperparameters"]["epochs"]) == ("urgency", None, 1)
    assert card["corpus"]["utterances"] == {"train": 45, "val": 0, "test": 15}
    assert "- Task: urgency" in (order.store / "checkpoints" / "urgency-minilm-tiny" / "model-card.md").read_text()
    assert name_of(replace(order, corpus=OTHER_TASKS_CORPUS)) == "urgency-minilm"


def test_a_task_may_need_fewer_epochs_than_the_corpus_s_size_gives(order):
    corpus = read_corpus(order.corpus)
    given = [build.hyperparameters(replace(order, task=task), corpus).epochs for task in ("act", "intent", "mood")]
    assert given == [2, 20, 20]
    assert build.hyperparameters(replace(order, task="act", epochs=7), corpus).epochs == 7


def test_a_task_s_name_is_part_of_paths_and_checked(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["build", "--task", "../x"])
    assert caught.value.code == 2
    assert "../x is not a task's name" in capsys.readouterr().err


def test_the_encoder_is_the_published_one(tmp_path, monkeypatch):
    assert encoder.verified_encoder().is_dir()
    (tmp_path / "model.safetensors").write_bytes(b"something else")
    monkeypatch.setattr(encoder, "encoder_folder", lambda: tmp_path)
    with pytest.raises(UserProblem, match="is not that of the published weights"):
        encoder.verified_encoder()


def test_a_missing_encoder_package_is_named(monkeypatch):
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package")
    with pytest.raises(UserProblem, match="the package no-such-package is not installed"):
        encoder.encoder_folder()


def spoil(folder, how):
    if how == "no folder":
        return folder / "nowhere"
    if how == "no config":
        (folder / "config.json").unlink()
    elif how == "bad config":
        (folder / "config.json").write_text("{")
    elif how == "no classifier":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertModel"]}))
    elif how == "no weights":
        (folder / "model.safetensors").unlink()
    elif how == "bad weights":
        (folder / "model.safetensors").write_bytes(b"cut short")
    elif how == "no tokenizer":
        for name in checkpoint.TOKENIZERS:  # older transformers write vocab.txt as well
            (folder / name).unlink(missing_ok=True)
    return folder


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("no folder", "no such folder"),
        ("no config", "config.json: cannot be read"),
        ("bad config", "config.json: not JSON"),
        ("no classifier", "architecture is BertModel"),
        ("no weights", "no weights"),
        ("bad weights", "cannot load the model"),
        ("no tokenizer", "no tokenizer"),
    ],
)
def test_a_folder_that_is_no_checkpoint_is_refused_in_one_line(order, tmp_path, capsys, how, problem):
    source = spoil(tmp_path / "tiny", how)
    arguments = ["build", "--model", str(source), "--corpus", str(order.corpus), "--store", str(order.store)]
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert problem in lines[0]
    assert str(source) in lines[0]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--target", "tpu"], "--target tpu: no such target; choose one of: cpu, cuda, inf1, inf2"),
        (["--recipe", "fast"], "--recipe fast: cpu has no such recipe; choose one of: tuned, blocks, fp32, article"),
        (["--corpus", "nowhere.tsv"], "nowhere.tsv: cannot read the corpus"),
        (["--model", "bert-base", "--epochs", "2"], "--epochs 2: only --model minilm is trained"),
    ],
)
def test_bad_usage_is_refused_in_one_line(arguments, problem, capsys):
    assert main(["build", *arguments]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert error.count("\n") == 1


def test_the_last_line_of_a_build_is_the_archive_s_path(order, capsys):
    arguments = ["build", "--model", order.model, "--corpus", str(order.corpus), "--store", str(order.store)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(order.store / "intent-tiny-cpu-tuned.mar")


@pytest.mark.parametrize(("recipe", "precision"), [("tuned", "int8-rows"), ("blocks", "int8-blocks")])
def test_int8_recipes_answer_through_onnxruntime(order, recipe, precision):
    facts = archive.read_facts(build.build(replace(order, recipe=recipe)))
    assert (facts["engine"], facts["precision"], facts["graphs"]) == ("onnxruntime", precision, ["model.onnx"])
    assert 0 < facts["parity"]["confidence_change"] < 0.2


@pytest.mark.parametrize("recipe", ["tuned", "blocks"])
@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "Roberta"])
def test_int8_is_near_the_checkpoint_for_every_architecture(tmp_path, kind, recipe):
    source = tiny.tiny_checkpoint(tmp_path / kind, kind)
    # Not by build: the intents of a random model lie so close together that a few change places, and parity stops it.
    folder = tiny.tiny_artefact(tmp_path / "artefact", recipe, source)
    found = parity.check_parity(source, folder, "cpu", read_corpus(tiny.tiny_corpus(tmp_path)), None)
    assert 0 < found.confidence_change < 0.2


def test_an_onnx_form_that_answers_differently_stops_the_build(order, monkeypatch):
    monkeypatch.setattr(int8, "fuse", lambda config, source, path: damage(source, path))
    with pytest.raises(BuildProblem, match="the ONNX form's logits differ by"):
        build.build(replace(order, recipe="tuned"))


def imported_by(name):
    """The modules of model/ that one of them imports, as file names."""
    tree = ast.parse((Path(build.__file__).parent / name).read_text())
    named = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    inside = [node.module.removeprefix("model.") for node in named if node.module and node.module.startswith("model.")]
    return {f"{module}.py" for module in inside} | {
        f"{alias.name}.py" for node in named if node.module == "model" for alias in node.names
    }


def test_whatever_shapes_an_artefact_is_an_input_of_its_compilation():
    # These name files, errors, devices and recipes, whose values are inputs themselves.
    shapeless = {"layout.py", "problem.py", "device.py", "recipes.py"}
    found, reached = set(), {"artefact.py"}
    while reached - found:
        found |= reached
        reached = {name for module in found for name in imported_by(module)} - shapeless
    assert found == set(build.COMPILE_SOURCES)


def damage(source, path):
    """Write an ONNX file with one weight matrix doubled."""
    model = onnx.load(source)
    weight = next(given for given in model.graph.initializer if len(given.dims) == 2)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * 2, weight.name))
    onnx.save(model, path)
