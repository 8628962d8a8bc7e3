"""Simulated samples: what a server of known law would have left behind, without a server."""

from __future__ import annotations

import numpy as np

from chatload import samples
from chatload.corpus import Utterance

UTTERANCES = [
    Utterance("hi", "greet", ""),
    Utterance("where is my order from last week", "order", ""),
    Utterance("something that nobody has labelled", "", ""),
]
LABELS = ["greet", "order"]
_EXPECTED = np.array([0, 1, -1])


def poisson_s(rate: float, seconds: float, seed: int = 1) -> np.ndarray:
    """Intended times of Poisson arrivals, in order."""
    generator = np.random.default_rng(seed)
    return np.sort(generator.uniform(0, seconds, generator.poisson(rate * seconds)))


def stalls_s(intended_s: np.ndarray, every_s: float = 10.0, held_s: float = 0.5) -> np.ndarray:
    """Latencies of benchmarks.stand_in's stall law: at 0.5 s in every 10 s the true p99 is 400 ms."""
    return np.maximum(held_s - intended_s % every_s, 0.0)


def rows(intended_s: np.ndarray, latency_s: np.ndarray, seed: int = 1) -> np.ndarray:
    """Answered samples (samples.DTYPE), sent 0.1 ms late, every tenth labelled one wrong, utterances in turn at random."""
    found = np.zeros(len(intended_s), samples.DTYPE)
    generator = np.random.default_rng(seed)
    found["intended_s"], found["sent_s"], found["done_s"] = intended_s, intended_s + 1e-4, intended_s + 2e-4 + latency_s
    found["utterance"] = generator.integers(0, len(UTTERANCES), len(found))
    expected = _EXPECTED[found["utterance"]]
    wrong = (expected >= 0) & (generator.random(len(found)) < 0.1)
    found["predicted"] = np.where(wrong, 1 - expected, np.maximum(expected, 0))
    found["outcome"] = np.where(wrong, samples.WRONG, samples.OK)
    found["tokenize_ms"], found["infer_ms"], found["bytes"] = 0.02, 0.05, 200
    found["tokens"] = 3 + found["utterance"]
    return found


def fail(found: np.ndarray, which: np.ndarray, outcome: int = 503) -> np.ndarray:
    """The same samples, but for ``which`` (a boolean array) that got no answer; those that are DROPPED were never sent."""
    found = found.copy()
    found["outcome"][which], found["predicted"][which] = outcome, samples.NOT_PREDICTED
    never = ("tokenize_ms", "infer_ms", *(("sent_s", "done_s") if outcome == samples.DROPPED else ()))
    for name in never:
        found[name][which] = samples.NEVER
    return found
