"""Tokenizer file: a model's tokenizer.json, for stand-ins of as many tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatload.chat_log import LogError
from chatload.stand_in import Language, Word


def read(path: Path) -> Language:
    """The words and pieces of a tokenizer.json (Hugging Face's; WordPiece, as BERT has). Raises LogError."""
    try:
        from tokenizers import Tokenizer  # only stand-ins need it
    except ImportError as error:
        raise LogError("--tokenizer needs the package tokenizers: .venv/bin/pip install tokenizers") from error
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as error:  # the package raises nothing narrower
        raise LogError(f"tokenizer {path} cannot be read ({str(error).splitlines()[0]}): name a tokenizer.json") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    heads = [word for word in vocabulary if _is_plain(word)]
    tails = [word[2:] for word in vocabulary if word.startswith("##") and _is_plain(word[2:])]
    return Language(lambda text: _words(tokenizer, text), [word for word in heads if count(word) == 1], tails, count)


def _is_plain(word: str) -> bool:
    return word.isascii() and word.isalpha() and word.islower()


def _words(tokenizer: Any, text: str) -> list[Word]:
    """The tokenizer's own words, each with its tokens."""
    encoded = tokenizer.encode(text, add_special_tokens=False)
    found: list[Word] = []
    last = None
    for number, (start, end) in zip(encoded.word_ids, encoded.offsets, strict=True):
        if found and (number == last or start < found[-1].end):  # a letter may be taken apart into several words
            found[-1] = Word(found[-1].start, max(end, found[-1].end), found[-1].tokens + 1)
        else:
            found.append(Word(start, end, 1))
        last = number
    return found
