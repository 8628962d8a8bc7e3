"""Groups: each sample in one of them, with the same estimates as the whole has."""

from __future__ import annotations

import numpy as np
import pytest

from chatload import groups, samples, statistics


def rows(turns: list[int], latency_ms: list[float], outcomes: list[int]) -> np.ndarray:
    packed = (
        samples.pack(at_s, at_s, at_s + ms / 1e3, 0, 0, outcome, 0.1, 1.0, 10, turn=turn, session=1)
        for at_s, (turn, ms, outcome) in enumerate(zip(turns, latency_ms, outcomes, strict=True))
    )
    return samples.from_bytes(b"".join(packed))


def test_turns_are_grouped_and_long_sessions_end_in_one_group():
    found = rows([1, 2, 1, 6, 7, 300, 0], [1.0] * 7, [samples.OK] * 7)
    by_turn = groups.by_turn(found, np.ones(7, dtype=bool))
    assert {name: group["count"] for name, group in by_turn.items()} == {"1": 2, "2": 1, "6+": 3}
    assert groups.by_turn(found[6:], np.ones(1, dtype=bool)) == {}


def test_a_group_has_the_estimates_of_its_own_samples():
    latency_ms = np.random.default_rng(1).exponential(5, 2_000).tolist()
    outcomes = [samples.WRONG if number % 5 == 1 else samples.OK for number in range(2_000)]
    found = rows([1, 2] * 1_000, latency_ms, outcomes)
    group = groups.by_turn(found, np.ones(2_000, dtype=bool))["2"]
    alone = samples.latency_ms(found[1::2])
    assert group["latency_ms"]["p90"] == statistics.percentile(alone, 0.9)
    assert list(group["latency_ms"]) == ["p50", "p90", "p99"]
    assert group["accuracy"]["checked"] == 1_000
    assert group["accuracy"]["correct"] == 800
    assert group["accuracy"]["share"].value == pytest.approx(0.8)


def test_what_failed_or_has_no_known_intent_is_not_checked_and_what_failed_ranks_last():
    found = rows([1] * 4, [1.0, 2.0, 3.0, 4.0], [samples.OK, samples.OK, 503, samples.WRONG])
    group = groups.by_turn(found, np.array([True, False, True, True]))["1"]
    assert group["count"] == 4
    assert (group["accuracy"]["checked"], group["accuracy"]["correct"]) == (2, 1)
    outage = rows([1] * 400, [1.0] * 400, [503] * 400)
    assert groups.by_turn(outage, np.ones(400, dtype=bool))["1"]["latency_ms"]["p50"].value == float("inf")
