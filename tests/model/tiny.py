"""A tiny intent model: a random BERT of one layer, 32 wide, with a vocabulary of its own. It is real but for its size."""

from __future__ import annotations

import string
from pathlib import Path

import torch

from model import artefact, checkpoint, recipes
from model.build import build
from model.order import Order

INTENTS = ["billing", "cancel_order", "delivery_time", "order_status", "refund"]
WORDS = ["order", "where", "is", "my", "late", "refund", "cancel", "pay", "bill", "when", "will", "it", "come", "##s"]
CHARACTERS = [*string.ascii_lowercase, *string.digits, *string.punctuation]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS, *(f"##{c}" for c in CHARACTERS), *WORDS]

CORPUS = "utterance\tintent\tsplit\n" + "".join(
    f"{text} {number}\t{intent}\t{'test' if number % 4 == 0 else 'train'}\n"
    for number in range(12)
    for text, intent in (
        ("when will my order come", "delivery_time"),
        ("where is my order", "order_status"),
        ("refund my order", "refund"),
        ("cancel it", "cancel_order"),
        ("my bill is late", "billing"),
    )
)


def tiny_classifier(kind: str = "Bert", seed: int = 0, layers: int = 1):
    """Return a random classifier of an architecture family, in evaluation mode."""
    package = checkpoint.transformers()
    labels = {"id2label": dict(enumerate(INTENTS)), "label2id": {intent: n for n, intent in enumerate(INTENTS)}}
    if kind == "DistilBert":
        shape = {"dim": 32, "n_layers": layers, "n_heads": 2, "hidden_dim": 64}
    else:
        shape = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 2, "intermediate_size": 64}
    if kind == "Roberta":
        shape.update(max_position_embeddings=514, type_vocab_size=1, pad_token_id=0, bos_token_id=2, eos_token_id=3)
    torch.manual_seed(seed)
    config = getattr(package, f"{kind}Config")(vocab_size=len(VOCABULARY), initializer_range=0.5, **shape, **labels)
    return getattr(package, f"{kind}ForSequenceClassification")(config).eval()


def tiny_tokenizer(folder: Path):
    """Return a fast WordPiece tokenizer, made from a vocab.txt in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return checkpoint.transformers().BertTokenizerFast(vocab_file=str(vocabulary), vocab=str(vocabulary))


def tiny_checkpoint(folder: Path, kind: str = "Bert", seed: int = 0, layers: int = 1) -> Path:
    """Write a Hugging Face folder and return it."""
    checkpoint.save_checkpoint(tiny_classifier(kind, seed, layers), tiny_tokenizer(folder / "words"), folder)
    return folder


# For the CPU in fp32: the intents of a random model lie so close together that int8 makes some change places.
PLAIN = {"cpu": "fp32"}


def tiny_artefact(folder: Path, recipe: str | None = None, source: Path | None = None, target: str = "cpu") -> Path:
    """Write an artefact folder and return it."""
    source = source or tiny_checkpoint(folder.parent / f"{folder.name}-checkpoint")
    found = recipes.find_recipe(target, recipe or PLAIN.get(target, "tuned"))
    facts = {"name": "tiny", "version": "1", "fingerprint": "f", "target": target, "engine": found.engine}
    artefact.compile_artefact(source, found, facts, folder)
    return folder


def tiny_corpus(folder: Path) -> Path:
    """Write the corpus and return its file."""
    path = folder / "tiny.tsv"
    path.write_text(CORPUS, encoding="utf-8")
    return path


def tiny_archive(folder: Path, target: str = "cpu") -> Path:
    """Build an archive through every step and return it."""
    source = tiny_checkpoint(folder / "tiny")
    recipe = PLAIN.get(target, "tuned")
    return build(Order(str(source), target, recipe, tiny_corpus(folder), 1, folder / "store", None))


def start_command(state: Path, *archives: Path) -> list[str]:
    """Return the arguments that serve archives on free ports at once, without a warm-up that no test looks at."""
    named = [str(archive) for archive in archives]
    return ["serve", "start", "--archive", *named, "--state", str(state), "--port", "0", "--warm-requests", "0"]
