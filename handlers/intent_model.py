"""The intent model: a folder of artefacts in, an answer per request out.

This module knows nothing of TorchServe. A target overrides `load_graph` and `infer` where its hardware needs it, and
nothing else, so that every target answers alike.
"""

from __future__ import annotations

import heapq
import json
import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

import torch
from intent_codec import MESSAGES, BadRequest, decode, encode, encode_error
from tokenizers import Tokenizer

logger = logging.getLogger("intent")

SCHEMA = 1
ALTERNATIVES = 3
WARM_LENGTHS = (4, 8, 16, 32, 64)
WARM_ROUNDS = 3
REHEARSED = b'{"text": "where is the parcel that I sent back to you last week"}'
JSON_HEADERS = {"Content-Type": "application/json"}


class BadArtefact(Exception):
    """The folder is not an artefact that this code can serve; the message names the file and what is wrong with it."""


@dataclass(frozen=True)
class Tokens:
    """What the tokenizer made of a text: ids [n], token types [n], and whether the text was cut to fit."""

    ids: list[int]
    types: list[int]
    truncated: bool


@dataclass(frozen=True)
class Reply:
    """What goes back to the caller: an HTTP status, headers and a body."""

    status: int
    headers: dict[str, str]
    body: bytes


class IntentModel:
    """An intent model in memory: tokenize, infer, answer.

    folder holds artefact.json, tokenizer.json and model.pt; threads is how many CPU threads one inference may use, and
    None leaves the process's setting alone. Raises BadArtefact.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.artefact = read_artefact(folder)
        if threads is not None:
            torch.set_num_threads(threads)
        self.labels: list[str] = self.artefact["labels"]
        self.buckets: list[int] | None = self.artefact["buckets"]
        self.max_tokens = longest_input(self.artefact)
        self.tokenizer = load_tokenizer(folder / "tokenizer.json", self.max_tokens)
        self.graph = self.load_graph(folder / "model.pt")
        self.warm()
        self.rehearse()  # what works once will not fail a worker that waits

    def load_graph(self, path: Path) -> Any:
        """Return the compiled model. Raises BadArtefact where the file is not TorchScript."""
        try:
            return torch.jit.load(str(path), map_location="cpu").eval()
        except (RuntimeError, ValueError) as error:
            raise BadArtefact(f"{path}: not a TorchScript model: {first_line(error)}") from error

    def infer(self, rows: list[list[int]]) -> list[float]:
        """Return a logit for each label, from ids, attention mask and token types, each n long."""
        with torch.inference_mode():
            return self.graph(*tensors_of(rows))[0].tolist()

    def warm(self) -> None:
        """Run a few inferences of each bucket's length, or of typical ones, so that no customer pays for the first."""
        lengths = self.buckets or [n for n in WARM_LENGTHS if n <= self.max_tokens]
        for length in lengths:
            for _ in range(WARM_ROUNDS):
                self.infer([[self.artefact["pad_id"]] * length, [1] * length, [0] * length])

    def tokenize(self, text: str) -> Tokens:
        """Return the tokens of a text, at most max_tokens of them."""
        encoding = self.tokenizer.encode(text)
        return Tokens(encoding.ids, encoding.type_ids, bool(encoding.overflowing))

    def pad(self, tokens: Tokens) -> list[list[int]]:
        """Return ids, attention mask and token types, each n long; n is the smallest bucket that fits, or exact."""
        real = len(tokens.ids)
        padding = bucket_for(real, self.buckets) - real
        return [
            tokens.ids + [self.artefact["pad_id"]] * padding,
            [1] * real + [0] * padding,
            tokens.types + [0] * padding,
        ]

    def probabilities(self, tokens: Tokens) -> list[float]:
        """Return the probability of each label."""
        return softmax(self.infer(self.pad(tokens)))

    def answer(self, body: bytes) -> Reply:
        """Return the contract's answer to a request's body, or its error. Never raises."""
        try:
            return self.classify(decode(body), self.probabilities)
        except BadRequest as mistake:
            return error_reply(mistake.status, mistake.code, mistake.message)
        except Exception:
            logger.exception("could not answer a request of %d bytes", len(body))
            return error_reply(500, "internal", MESSAGES["internal"])

    def rehearse(self) -> None:
        """Go the whole way of an answer but for its inference, for nothing: the next then finds its code in the caches."""
        self.classify(decode(REHEARSED), self.equal_probabilities)

    def equal_probabilities(self, tokens: Tokens) -> list[float]:
        """Return the same probability for each label, having padded as for an inference."""
        self.pad(tokens)
        return softmax([0.0] * len(self.labels))

    def classify(self, text: str, probabilities_of: Callable[[Tokens], list[float]]) -> Reply:
        """Return the answer to a text, with how long tokenizing and inference took in ms as Server-Timing."""
        started_s = time.perf_counter()
        tokens = self.tokenize(text)
        tokenized_s = time.perf_counter()
        probabilities = probabilities_of(tokens)
        inferred_s = time.perf_counter()
        body = encode(self.answer_of(probabilities, tokens))
        timing = server_timing((tokenized_s - started_s) * 1e3, (inferred_s - tokenized_s) * 1e3)
        return Reply(200, {**JSON_HEADERS, "Server-Timing": timing}, body)

    def answer_of(self, probabilities: list[float], tokens: Tokens) -> dict[str, Any]:
        """Return the answer's object: the best intent, the next best few, and what answered."""
        places = heapq.nlargest(1 + ALTERNATIVES, range(len(probabilities)), key=probabilities.__getitem__)
        ranked = [{"intent": self.labels[place], "confidence": round(probabilities[place], 6)} for place in places]
        return {
            **ranked[0],
            "alternatives": ranked[1:],
            "model": self.artefact["name"],
            "version": self.artefact["version"],
            "truncated": tokens.truncated,
            "tokens": len(tokens.ids),
        }


REQUIRED: dict[str, Any] = {
    "name": str,
    "version": str,
    "labels": list,
    "max_tokens": int,
    "pad_id": int,
    "buckets": (list, type(None)),
}


def read_artefact(folder: Path) -> dict[str, Any]:
    """Return artefact.json of a folder. Raises BadArtefact where it is missing or lacks what serving needs."""
    path = folder / "artefact.json"
    try:
        artefact = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadArtefact(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadArtefact(f"{path}: not JSON: {first_line(error)}") from error
    if not isinstance(artefact, dict) or artefact.get("schema") != SCHEMA:
        raise BadArtefact(f"{path}: not an artefact of schema {SCHEMA}; build it again")
    for key, kind in REQUIRED.items():
        if not isinstance(artefact.get(key, ...), kind):
            raise BadArtefact(f'{path}: "{key}" is missing or of the wrong type; build it again')
    if not artefact["labels"] or (artefact["buckets"] is not None and not artefact["buckets"]):
        raise BadArtefact(f'{path}: "labels" or "buckets" is empty; build it again')
    return artefact


def load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    """Return the tokenizer, cutting at max_tokens and padding nothing. Raises BadArtefact."""
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises bare Exception
        raise BadArtefact(f"{path}: not a tokenizer: {first_line(error)}") from error
    tokenizer.enable_truncation(max_tokens)
    tokenizer.no_padding()
    return tokenizer


def longest_input(artefact: dict[str, Any]) -> int:
    """Return how many tokens the model takes: its own limit, or the largest bucket where that is smaller."""
    if artefact["buckets"] is None:
        return artefact["max_tokens"]
    return min(artefact["max_tokens"], max(artefact["buckets"]))


def bucket_for(tokens: int, buckets: list[int] | None) -> int:
    """Return the padded length of an input: the smallest bucket that fits, or its own length without buckets."""
    if buckets is None:
        return tokens
    return min(length for length in buckets if length >= tokens)


def tensors_of(rows: list[list[int]]) -> list[torch.Tensor]:
    """Return rows as a graph takes them, each int64 [1, n]."""
    return [torch.tensor([row], dtype=torch.int64) for row in rows]


def softmax(logits: list[float]) -> list[float]:
    """Return the probabilities of some logits. For one row of labels Python is done before torch has begun."""
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def server_timing(tokenize_ms: float, infer_ms: float) -> str:
    """Return the Server-Timing header's value, milliseconds with two decimals."""
    return f"tokenize;dur={tokenize_ms:.2f}, infer;dur={infer_ms:.2f}"


def error_reply(status: int, code: str, message: str) -> Reply:
    """Return the contract's error as a reply."""
    return Reply(status, dict(JSON_HEADERS), encode_error(code, message))


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text: native libraries append whole stack traces."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
