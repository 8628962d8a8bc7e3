"""Checkpoints: Hugging Face sequence-classification folders, read from disk and never from the network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from model.problem import UserProblem

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
LONGEST_INPUT = 512
# These number positions from padding_idx + 1, so that their tables hold that many rows more than they take tokens.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer")


def transformers() -> Any:
    """Return the transformers package, offline and quiet: its notes and bars are about its own files, not ours."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    import transformers as package

    package.logging.set_verbosity_error()
    package.logging.disable_progress_bar()
    return package


def check_folder(folder: Path) -> None:
    """Raise UserProblem unless a folder looks like a Hugging Face sequence classifier with weights and a tokenizer."""
    if not folder.is_dir():
        raise UserProblem(
            f"--model {folder}: no such folder; give minilm, bert-base or a Hugging Face sequence-classification folder"
        )
    config = read_config(folder)
    names = config.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in names):
        found = ", ".join(map(str, names)) or "none named"
        raise UserProblem(f"{folder / CONFIG}: architecture is {found}; it must be one ...ForSequenceClassification")
    require_one(folder, WEIGHTS, "no weights")
    require_one(folder, TOKENIZERS, "no tokenizer")


def read_config(folder: Path) -> dict[str, Any]:
    """Return a folder's config.json. Raises UserProblem."""
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserProblem(f"{path}: cannot be read: {error.strerror}; is this a Hugging Face folder?") from error
    except ValueError as error:
        raise UserProblem(f"{path}: not JSON: {error}; save the model again with save_pretrained") from error
    if not isinstance(config, dict):
        raise UserProblem(f"{path}: not a JSON object; save the model again with save_pretrained")
    return config


def require_one(folder: Path, names: Any, problem: str) -> None:
    """Raise UserProblem unless a folder holds one of the files."""
    if not any((folder / name).is_file() for name in names):
        raise UserProblem(f"{folder}: {problem}; it needs one of: {', '.join(names)}")


def input_files(folder: Path) -> list[Path]:
    """Return the files of a checkpoint that shape its answers: all but notes and the model card."""
    return [path for path in folder.iterdir() if path.is_file() and path.suffix not in (".md",) and not is_card(path)]


def is_card(path: Path) -> bool:
    """Tell whether a file is the model card's data, which records results and shapes none."""
    return path.name == "model-card.json"


def load_classifier(folder: Path) -> Any:
    """Return the classifier of a checkpoint in fp32, ready to evaluate. Raises UserProblem where it cannot be loaded."""
    package = transformers()
    try:
        classifier = package.AutoModelForSequenceClassification.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # loaders raise whatever their file format's library raises
        raise UserProblem(f"{folder}: cannot load the model: {one_line(error)}") from error
    return classifier.float().eval()


def load_tokenizer(folder: Path) -> Any:
    """Return the fast tokenizer of a checkpoint, converted where only a vocabulary is there. Raises UserProblem."""
    package = transformers()
    try:
        tokenizer = package.AutoTokenizer.from_pretrained(str(folder), use_fast=True, local_files_only=True)
    except Exception as error:  # as above
        raise UserProblem(f"{folder}: cannot load the tokenizer: {one_line(error)}") from error
    if not getattr(tokenizer, "is_fast", False):
        raise UserProblem(f"{folder}: the tokenizer has no fast form; save a tokenizer.json beside the model")
    return tokenizer


def labels_of(classifier: Any) -> list[str]:
    """Return a classifier's labels in the order of its logits."""
    names = classifier.config.id2label
    return [str(names[index]) for index in range(classifier.config.num_labels)]


def longest_input(classifier: Any, tokenizer: Any) -> int:
    """Return how many tokens a classifier takes, special ones included: at most 512."""
    config = classifier.config
    rows = getattr(config, "max_position_embeddings", LONGEST_INPUT)
    if config.model_type in OFFSET_POSITIONS:
        rows -= (config.pad_token_id or 0) + 1
    return int(min(rows, tokenizer.model_max_length, LONGEST_INPUT))


def save_checkpoint(classifier: Any, tokenizer: Any, folder: Path) -> None:
    """Write a plain Hugging Face folder: config, weights, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    # The encoder's tokenizer.json pads and cuts everything to 128 tokens, which is its trainers' choice and not ours.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.model_max_length = LONGEST_INPUT
    classifier.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def one_line(error: BaseException) -> str:
    """Return an error's first line, or its type where it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
