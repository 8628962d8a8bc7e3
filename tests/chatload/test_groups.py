"""Groups: each sample in one of them, with the same estimates as the whole has."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import groups, noise, samples, statistics
from chatload.corpus import Utterance
from tests.chatload.simulated import LABELS, UTTERANCES, fail, poisson_s, rows, stalls_s

INTENDED_S = poisson_s(100, 60)
ROWS = rows(INTENDED_S, stalls_s(INTENDED_S))


def told(found: np.ndarray, tokens: list[int]) -> np.ndarray:
    """The same samples whose utterances have so many tokens, where they were answered."""
    found = found.copy()
    found["tokens"] = np.where(samples.answered(found), np.array(tokens)[found["utterance"]], 0)
    return found


def test_lengths_are_told_by_the_answers():
    found = groups.by_length(told(ROWS, [8, 9, 300]), UTTERANCES, LABELS)
    assert list(found) == ["1 to 8 tokens", "9 to 16 tokens", "257 or more tokens"]
    greetings = ROWS[ROWS["utterance"] == 0]
    group = found["1 to 8 tokens"]
    assert group["count"] == group["accuracy"]["checked"] == len(greetings)
    assert group["accuracy"]["correct"] == np.count_nonzero(greetings["outcome"] == samples.OK)
    assert group["latency_ms"]["p99"] == statistics.percentile(samples.latency_ms(greetings), 0.99)
    assert group["mistaken_for"] == "order"
    assert found["257 or more tokens"]["accuracy"]["checked"] == 0  # nobody has labelled it


def test_an_arrival_without_an_answer_has_the_length_of_its_text():
    failed = fail(ROWS, np.arange(len(ROWS)) % 3 == 0)
    found = groups.by_length(told(failed, [8, 9, 300]), UTTERANCES, LABELS)
    assert [group["count"] for group in found.values()] == np.bincount(ROWS["utterance"]).tolist()
    assert np.isinf(found["1 to 8 tokens"]["latency_ms"]["p90"].value)


def test_a_text_that_was_never_answered_has_an_unknown_length():
    failed = fail(ROWS, ROWS["utterance"] == 1)
    found = groups.by_length(told(failed, [8, 9, 300]), UTTERANCES, LABELS)
    assert found["unknown tokens"]["count"] == np.count_nonzero(ROWS["utterance"] == 1)
    assert "9 to 16 tokens" not in found


def test_a_variant_has_a_length_of_its_own():
    found = told(ROWS, [8, 9, 300])
    found["variant"][::2] = noise.variant(noise.REFERENCE, 5)
    found["tokens"][::2] = 20
    found = fail(found, np.arange(len(found)) % 4 == 0)
    found["tokens"][::4] = 0
    assert groups.by_length(found, UTTERANCES, LABELS)["17 to 32 tokens"]["count"] == len(found[::2])


def test_lengths_are_counted_in_words_where_no_answer_tells_tokens():
    found = groups.by_length(told(ROWS, [0, 0, 0]), UTTERANCES, LABELS)
    assert list(found) == ["1 to 3 words", "4 to 6 words", "7 to 10 words"]
    three_words = [Utterance("where is it", "", "")] * 3
    varied = told(ROWS, [0, 0, 0])
    assert list(groups.by_length(varied, three_words, LABELS)) == ["1 to 3 words"]
    varied["variant"] = noise.variant(noise.REFERENCE, 5)  # a word more
    assert list(groups.by_length(varied, three_words, LABELS)) == ["4 to 6 words"]


def test_intents_leave_out_what_nobody_has_labelled():
    found = groups.by_intent(ROWS, UTTERANCES, LABELS)
    assert {name: group["mistaken_for"] for name, group in found.items()} == {"greet": "order", "order": "greet"}
    assert sum(group["count"] for group in found.values()) == np.count_nonzero(ROWS["utterance"] < 2)


def test_a_run_without_samples_has_no_groups():
    nothing = np.empty(0, samples.DTYPE)
    assert groups.by_length(nothing, UTTERANCES, []) == groups.by_intent(nothing, UTTERANCES, []) == {}


@given(st.lists(st.integers(0, 600), min_size=3, max_size=3), st.floats(0, 1))
def test_every_arrival_is_in_one_group_of_length(tokens, failing):
    failed = fail(ROWS[:300], np.random.default_rng(1).random(300) < failing)
    found = groups.by_length(told(failed, tokens), UTTERANCES, LABELS)
    assert sum(group["count"] for group in found.values()) == 300
    assert sum(group["accuracy"]["checked"] for group in found.values()) == pytest.approx(
        np.count_nonzero(samples.answered(failed) & (failed["utterance"] < 2))
    )


def in_turns(turns: list[int], latency_ms: list[float], outcomes: list[int]) -> np.ndarray:
    packed = (
        samples.pack(at_s, at_s, at_s + ms / 1e3, 0, 0, outcome, 0.1, 1.0, 10, turn=turn, session=1)
        for at_s, (turn, ms, outcome) in enumerate(zip(turns, latency_ms, outcomes, strict=True))
    )
    return samples.from_bytes(b"".join(packed))


def test_turns_are_grouped_and_long_sessions_end_in_one_group():
    found = in_turns([1, 2, 1, 6, 7, 300, 0], [1.0] * 7, [samples.OK] * 7)
    by_turn = groups.by_turn(found, np.ones(7, dtype=bool))
    assert {name: group["count"] for name, group in by_turn.items()} == {"1": 2, "2": 1, "6+": 3}
    assert groups.by_turn(found[6:], np.ones(1, dtype=bool)) == {}


def test_a_group_has_the_estimates_of_its_own_samples():
    latency_ms = np.random.default_rng(1).exponential(5, 2_000).tolist()
    outcomes = [samples.WRONG if number % 5 == 1 else samples.OK for number in range(2_000)]
    found = in_turns([1, 2] * 1_000, latency_ms, outcomes)
    group = groups.by_turn(found, np.ones(2_000, dtype=bool))["2"]
    alone = samples.latency_ms(found[1::2])
    assert group["latency_ms"]["p90"] == statistics.percentile(alone, 0.9)
    assert list(group["latency_ms"]) == ["p50", "p90", "p99"]
    assert group["accuracy"]["checked"] == 1_000
    assert group["accuracy"]["correct"] == 800
    assert group["accuracy"]["share"].value == pytest.approx(0.8)


def test_what_failed_or_has_no_known_intent_is_not_checked_and_what_failed_ranks_last():
    found = in_turns([1] * 4, [1.0, 2.0, 3.0, 4.0], [samples.OK, samples.OK, 503, samples.WRONG])
    group = groups.by_turn(found, np.array([True, False, True, True]))["1"]
    assert group["count"] == 4
    assert (group["accuracy"]["checked"], group["accuracy"]["correct"]) == (2, 1)
    outage = in_turns([1] * 400, [1.0] * 400, [503] * 400)
    assert groups.by_turn(outage, np.ones(400, dtype=bool))["1"]["latency_ms"]["p50"].value == float("inf")
