"""The build: train or take, compile, check parity, archive. A step with unchanged inputs is skipped and says so."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from intent_model import BadArtefact

from model import archive, artefact, checkpoint, device, fingerprint, parity
from model.card import JSON_NAME as CARD_NAME
from model.card import card_of, percent, read_card, write_card
from model.corpus import INTENT, Corpus
from model.encoder import WEIGHTS_SHA256, encoder_folder, verified_encoder
from model.evaluation import accuracy_of, probabilities_of
from model.layout import artefact_files
from model.lock import only_build
from model.order import BERT_BASE, MINILM, OTHER_TASKS_CORPUS, Order, check, name_of
from model.problem import BuildProblem
from model.recipes import Recipe
from model.training import Hyperparameters, epochs_for, seeded, train
from model.versions import versions

DEMONSTRATION = (
    "A demonstration model: it costs what a model of its kind costs, and is as good as its labels, most of which rules made "
    "(docs/reference/corpus.md)."
)
# Tasks that were seen to need fewer epochs than the corpus's size gives (decision 0307).
TASK_EPOCHS = {"language": 2, "scope": 2, "urgency": 2, "act": 2}
# What shapes weights and artefacts besides values: a change to one of these files makes what it built stale.
TRAINING_SOURCES = ("training.py",)
COMPILE_SOURCES = (
    "artefact.py", "checkpoint.py", "buckets.py", "neuron.py", "cuda.py", "int8.py", "row_scales.py", "first_token.py",
    "mask.py",
)  # fmt: skip
ARCHIVE_SOURCES = ("archive.py",)
LOWEST_SHOWN = 3


def build(order: Order) -> Path:
    """Run every step that is stale and return the .mar. Raises UserProblem, MissingDevice or BuildProblem."""
    recipe, corpus = check(order)
    device.require_package(order.target)
    name = name_of(order)
    with only_build(order.store):
        source = obtain(order, name, corpus)
        folder = order.store / "artefacts" / f"{name}-{order.target}-{recipe.name}"
        compile_step(source, name, order.target, recipe, folder)
        parity_step(source, recipe, corpus, folder)
        served = f"intent-{name}" if order.task == INTENT else name
        return archive_step(folder, order.target, order.task, order.store / f"{served}-{order.target}-{recipe.name}.mar")


def obtain(order: Order, name: str, corpus: Corpus) -> Path:
    """Return the folder of a checkpoint: the user's own, or one made here."""
    if order.model not in (MINILM, BERT_BASE):
        say("take", order.model)
        return Path(order.model)
    return make_checkpoint(order, name, corpus)


def make_checkpoint(order: Order, name: str, corpus: Corpus) -> Path:
    """Return the folder of a checkpoint that is trained, or drawn at random, unless it is there already."""
    folder = order.store / "checkpoints" / name
    is_random = order.model == BERT_BASE
    settings = None if is_random else hyperparameters(order, corpus)
    inputs: dict[str, Any] = {
        "model": name,
        "corpus": corpus.sha256,
        "seed": order.seed,
        "hyperparameters": asdict(settings) if settings else None,
        "encoder": WEIGHTS_SHA256,
        "versions": versions(),
        "sources": sources(TRAINING_SOURCES),
    }
    mark = fingerprint.of_values(inputs)
    if is_random:
        say("note", "bert-base has random weights: its answers mean nothing, only its timing does")
    if is_whole(folder, mark):
        say("train", f"skipped: inputs unchanged ({folder})")
        return folder
    say("train", f"{name} on {corpus.path}: {describe(corpus, order.task, settings)}")
    started_s = time.monotonic()
    classifier, tokenizer = new_bert_base(corpus, order.seed) if is_random else new_minilm(corpus, order.seed)
    if settings is not None:
        train(classifier, tokenizer, corpus.split("train"), settings, order.seed)
    (folder / CARD_NAME).unlink(missing_ok=True)
    checkpoint.save_checkpoint(classifier, tokenizer, folder)
    test, tested_on = corpus.test()
    best = probabilities_of(classifier, tokenizer, [u.text for u in test], checkpoint.LONGEST_INPUT).argmax(dim=-1)
    labels = checkpoint.labels_of(classifier)
    accuracy = accuracy_of([labels[place] for place in best.tolist()], test)
    made = {
        "fingerprint": mark,
        "task": order.task,
        "note": DEMONSTRATION if corpus.path.resolve() == OTHER_TASKS_CORPUS else None,
        "seed": order.seed,
        "hyperparameters": inputs["hyperparameters"],
        "versions": inputs["versions"],
        "encoder_sha256": None if is_random else WEIGHTS_SHA256,
        "weights_sha256": fingerprint.of_file(folder / "model.safetensors"),
        "time_s": round(time.monotonic() - started_s, 1),
    }
    card = card_of(name, corpus, tested_on, accuracy, made, is_random)
    write_card(card, folder)
    print_accuracy(card)
    return folder


def hyperparameters(order: Order, corpus: Corpus) -> Hyperparameters:
    """Return the defaults with the epochs asked for, or those of the task, or those that the corpus's size gives."""
    epochs = order.epochs or TASK_EPOCHS.get(order.task) or epochs_for(corpus.counts()["train"])
    return Hyperparameters(epochs=epochs)


def is_whole(folder: Path, mark: str) -> bool:
    """Tell whether a folder holds the checkpoint of a fingerprint, with the very weights that its card names."""
    card = read_card(folder)
    weights = folder / "model.safetensors"
    if card is None or card.get("fingerprint") != mark or not weights.is_file():
        return False
    return fingerprint.of_file(weights) == card["weights_sha256"]


def new_minilm(corpus: Corpus, seed: int) -> Any:
    """Return the pretrained encoder with a new head for the corpus's intents, and its tokenizer."""
    folder = verified_encoder()
    package = checkpoint.transformers()
    with seeded(seed):
        classifier = package.AutoModelForSequenceClassification.from_pretrained(
            str(folder), local_files_only=True, **label_maps(corpus)
        )
    return classifier, checkpoint.load_tokenizer(folder)


def new_bert_base(corpus: Corpus, seed: int) -> Any:
    """Return a 12x768 BERT with random weights, and the tokenizer of the same uncased vocabulary."""
    package = checkpoint.transformers()
    with seeded(seed):
        classifier = package.BertForSequenceClassification(package.BertConfig(**label_maps(corpus))).eval()
    return classifier, checkpoint.load_tokenizer(encoder_folder())


def label_maps(corpus: Corpus) -> dict[str, Any]:
    """Return the label settings of a configuration."""
    intents = corpus.intents()
    return {
        "id2label": dict(enumerate(intents)),
        "label2id": {intent: number for number, intent in enumerate(intents)},
    }


def compile_step(source: Path, name: str, target: str, recipe: Recipe, folder: Path) -> None:
    """Compile unless the artefact of the same inputs is there."""
    files = fingerprint.of_files(checkpoint.input_files(source))
    inputs = {
        "checkpoint": files,
        "target": target,
        "recipe": {**asdict(recipe), "parity_utterances": None},
        "versions": versions(target),
        "sources": sources(COMPILE_SOURCES),
    }
    mark = fingerprint.of_values(inputs)
    present = artefact.read_artefact(folder)
    if present is not None and present.get("fingerprint") == mark:
        say("compile", f"skipped: inputs unchanged ({folder})")
        return
    say("compile", f"{source} for {target}, recipe {recipe.name}")
    card = read_card(source) or {}
    facts = {
        "name": name,
        "version": mark[:12],
        "fingerprint": mark,
        "target": target,
        "recipe": recipe.name,
        "precision": recipe.precision,
        "engine": recipe.engine,
        "compiler_args": list(recipe.compiler_args),
        "random": bool(card.get("random", False)),
        "versions": versions(target),
        "checkpoint_sha256": files,
    }
    artefact.compile_artefact(source, recipe, facts, folder)


def parity_step(source: Path, recipe: Recipe, corpus: Corpus, folder: Path) -> None:
    """Check parity unless it was passed with the same inputs. Raises BuildProblem where it fails."""
    facts = artefact.read_artefact(folder)
    assert facts is not None, "the compile step leaves a whole artefact"
    mark = fingerprint.of_values(
        {
            "artefact": facts["fingerprint"],
            "corpus": corpus.sha256,
            "limit": recipe.parity_utterances,
            "handlers": fingerprint.of_files(archive.handler_files(facts["target"])),
        }
    )
    known, target = facts["parity"], facts["target"]
    if known is not None and known["fingerprint"] == mark and (known["passed"] or facts["random"]):
        say("parity", f"skipped: inputs unchanged, agreement {known['agreement']:.2%}")
        return
    missing = device.missing_device(target)
    if missing is not None:
        facts["parity"] = {"passed": None, "not_run": missing, "fingerprint": mark}
        artefact.write_artefact(facts, folder)
        say("parity", f"NOT CHECKED: {missing}; run the same build on the target")
        return
    say("parity", "artefact against the fp32 checkpoint")
    try:
        found = parity.check_parity(source, folder, target, corpus, recipe.parity_utterances)
    except BadArtefact as error:
        raise BuildProblem(f"parity: {error}") from error
    facts["parity"] = {**found.values(), "fingerprint": mark}
    artefact.write_artefact(facts, folder)
    print(parity.table(facts["parity"]), flush=True)
    if facts["random"]:
        say("note", "random weights: their intents lie so close together that agreement says nothing; not required")
    elif not facts["parity"]["passed"]:
        raise BuildProblem(
            f"parity: only {facts['parity']['agreement']:.2%} of the answers agree with the checkpoint's; "
            "nothing was archived"
        )


def archive_step(folder: Path, target: str, task: str, path: Path) -> Path:
    """Archive unless the .mar of the same inputs is there, and return it."""
    facts = artefact.read_artefact(folder)
    assert facts is not None, "the compile step leaves a whole artefact"
    sources_of = [*archive.handler_files(target), *(folder / name for name in artefact_files(facts))]
    inputs = {"task": task, "files": fingerprint.of_files(sources_of), "sources": sources(ARCHIVE_SOURCES)}
    mark = fingerprint.of_values(inputs)
    if archive.fingerprint_in(path) == mark:
        say("archive", "skipped: inputs unchanged")
    else:
        archive.write_archive(folder, target, task, mark, path)
        say("archive", f"{path.stat().st_size / 1e6:.0f} MB")
    return path


def sources(names: Any) -> dict[str, str]:
    """Return the sha256 of this package's modules of some names."""
    return fingerprint.of_files([Path(__file__).parent / name for name in names])


def describe(corpus: Corpus, task: str, settings: Hyperparameters | None) -> str:
    """Return what a training works on, in a few words."""
    labels = "intents" if task == INTENT else "labels"
    what = f"{corpus.counts()['train']} utterances, {len(corpus.intents())} {labels}"
    return f"{what}, {settings.epochs} epochs" if settings else f"{what}, no training"


def print_accuracy(card: dict[str, Any]) -> None:
    """Print a card's accuracy, in all and of the intents where it is lowest, as lines for a terminal."""
    accuracy = card["accuracy"]
    print(
        f"         accuracy on {card['tested_on']}: {percent(accuracy['overall'])} overall, "
        f"{percent(accuracy['in_scope'])} in scope; {card['time_s']:.0f} s"
    )
    intents: dict[str, float] = accuracy["per_intent"]
    lowest = sorted(intents, key=intents.__getitem__)[:LOWEST_SHOWN]
    shown = ", ".join(f"{intent} {percent(intents[intent])}" for intent in lowest)
    print(f"         lowest of {len(intents)}: {shown} (all: {CARD_NAME})", flush=True)


def say(step: str, what: str) -> None:
    """Print one line of progress."""
    print(f"{step:<8} {what}", flush=True)
