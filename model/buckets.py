"""Buckets: which padded lengths a model gets on a target, within what it takes and what the target's memory holds."""

from __future__ import annotations

from collections.abc import Sequence

# Weights that one core's graphs may hold together. Inf1: AWS's rule for buckets, a billion (2 GB a core in bf16). Inf2: half
# of its 16 GiB a core, at 4 bytes a weight; the other half is for activations and the runtime.
WEIGHTS_PER_CORE = {"inf1": 1_000_000_000, "inf2": 2_000_000_000}


def fitting(buckets: Sequence[int], longest: int, weights: int, target: str) -> list[int]:
    """Return a target's padded lengths, ascending, each a graph with weights of its own.

    None is longer than the model's longest input. Where memory is short, the longest stays, since it alone takes every
    utterance, and then the shortest, since most utterances are short.
    """
    lengths = sorted({min(length, longest) for length in buckets})
    if target not in WEIGHTS_PER_CORE:
        return lengths
    graphs = max(1, WEIGHTS_PER_CORE[target] // weights)
    return sorted({*lengths[: graphs - 1], lengths[-1]})
