from __future__ import annotations

import contextlib
import math
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatload import mix
from chatload.corpus import Utterance

LENGTHS = mix.parse_lengths("1-4=60,5-10=30,11-=10")


def made(*counts: tuple[str, int, int]) -> list[Utterance]:
    """So many utterances of an intent, each of so many words."""
    return [Utterance(" ".join(["word"] * words), intent, "") for intent, words, count in counts for _ in range(count)]


CORPUS = made(
    ("order", 3, 8), ("order", 7, 4), ("order", 20, 2), ("refund", 3, 1), ("refund", 7, 9), ("refund", 20, 1), ("", 2, 5)
)


def shares(weights: np.ndarray, groups: list) -> dict:
    found: Counter = Counter()
    for weight, group in zip(weights.tolist(), groups, strict=True):
        found[group] += weight
    return {group: share for group, share in found.items() if share}


def class_of(utterance: Utterance) -> str:
    words = mix.word_count(utterance.text)
    return next(length.name for length in LENGTHS if length.least <= words <= length.most)


def test_without_mix_and_lengths_all_are_alike():
    assert mix.weights(CORPUS, None, ()) is None


def test_intents_have_their_weights_and_others_are_not_sent():
    weights = mix.weights(CORPUS, {"order": 3, "": 1}, ())
    assert shares(weights, [utterance.intent for utterance in CORPUS]) == pytest.approx({"order": 0.75, "": 0.25})
    assert len({weight for weight, utterance in zip(weights, CORPUS, strict=True) if utterance.intent == "order"}) == 1


def test_lengths_have_their_weights_and_what_lies_between_is_not_sent():
    assert shares(mix.weights(CORPUS, None, LENGTHS), list(map(class_of, CORPUS))) == pytest.approx(
        {"1-4": 0.6, "5-10": 0.3, "11-": 0.1}
    )
    weights = mix.weights(CORPUS, None, mix.parse_lengths("1-2=1,20=1"))
    assert shares(weights, [mix.word_count(utterance.text) for utterance in CORPUS]) == pytest.approx({2: 0.5, 20: 0.5})


def test_mix_and_lengths_hold_together():
    weights = mix.weights(CORPUS, {"order": 1, "refund": 1}, LENGTHS)
    assert shares(weights, [u.intent for u in CORPUS]) == pytest.approx({"order": 0.5, "refund": 0.5}, abs=2e-4)
    assert shares(weights, list(map(class_of, CORPUS))) == pytest.approx({"1-4": 0.6, "5-10": 0.3, "11-": 0.1}, abs=2e-4)


WEIGHT = st.floats(0.01, 100)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 6, 15]), st.integers(1, 5)), min_size=1, max_size=12),
    st.dictionaries(st.sampled_from("abc"), WEIGHT, min_size=1),
    st.tuples(WEIGHT, WEIGHT, WEIGHT),
)
def test_both_shares_hold_or_the_mix_is_refused(counts, intents, lengths):
    utterances = made(*counts)
    classes = [mix.Length(1, 4, lengths[0]), mix.Length(5, 10, lengths[1]), mix.Length(11, math.inf, lengths[2])]
    try:
        weights = mix.weights(utterances, intents, classes)
    except mix.MixError:
        return
    total = sum(intents.values())
    wanted = {intent: weight / total for intent, weight in intents.items()}
    assert shares(weights, [u.intent for u in utterances]) == pytest.approx(wanted, abs=2e-4)
    by_class = {length.name: length.weight / sum(lengths) for length in classes}
    assert shares(weights, list(map(class_of, utterances))) == pytest.approx(by_class, abs=2e-4)


@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=2, max_size=3))
def test_what_a_full_corpus_can_give_is_given(table):
    """Shares that come from some table of weights can be had, however far they are from the corpus'."""
    cells = np.array(table)
    assume(cells.max() / cells.min() < 100)
    utterances = made(*((f"i{row}", (2, 6, 15)[column], 1) for row in range(len(cells)) for column in range(3)))
    intents = {f"i{row}": float(share) for row, share in enumerate(cells.sum(axis=1))}
    classes = [
        mix.Length(*bounds, float(share))
        for bounds, share in zip(((1, 4), (5, 10), (11, math.inf)), cells.sum(axis=0), strict=True)
    ]
    weights = mix.weights(utterances, intents, classes)
    assert weights.sum() == pytest.approx(1)


def test_what_cannot_be_had_together_is_refused():
    utterances = made(("order", 3, 5), ("refund", 20, 5))
    message = "with these lengths, intent 'order' would be 80.0% of the messages in place of 50.0%"
    with pytest.raises(mix.MixError, match=message):
        mix.weights(utterances, {"order": 1, "refund": 1}, mix.parse_lengths("1-4=80,11-=20"))


@pytest.mark.parametrize(
    ("intents", "lengths", "message"),
    [
        ({"ordr": 1}, "", "no utterance with the intent 'ordr'; do you mean order?"),
        ({"xyz": 1}, "", "no utterance with the intent 'xyz'; it has 3"),
        ({}, "", "no intent is named"),
        (None, "1-4=1,30-=1", "no utterance of the corpus that may be sent has words '30-': leave it out"),
        ({"": 1}, "1-4=1,5-=1", "no utterance of the corpus that may be sent has words '5-'"),
    ],
)
def test_what_the_corpus_does_not_have_is_refused(intents, lengths, message):
    with pytest.raises(mix.MixError, match=re.escape(message)):
        mix.weights(CORPUS, intents, mix.parse_lengths(lengths))


def test_weights_of_intents_are_read():
    assert mix.parse_intents("order_status=3; a=b=0.5;=1") == {"order_status": 3, "a=b": 0.5, "": 1}


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (mix.parse_intents, "a=x", "intent 'a' has the weight 'x': write a number above 0"),
        (mix.parse_intents, "a=0", "intent 'a' has the weight '0'"),
        (mix.parse_intents, "a=inf", "intent 'a' has the weight 'inf'"),
        (mix.parse_intents, "a=1;a=2", "intent 'a' is named twice"),
        (mix.parse_lengths, "1-4", "1-4 has the weight ''"),
        (mix.parse_lengths, "few=1", "'few=1' is no class of lengths"),
        (mix.parse_lengths, "4-1=1", "'4-1=1': no text has so many words"),
        (mix.parse_lengths, "0-3=1", "'0-3=1': no text has so many words"),
        (mix.parse_lengths, "1-4=1,4-9=1", "1-4 and 4-9 overlap"),
        (mix.parse_lengths, "1-=1,4-9=1", "1- and 4-9 overlap"),
    ],
)
def test_a_mix_that_cannot_be_is_refused(parse, text, message):
    with pytest.raises(mix.MixError, match=re.escape(message)):
        parse(text)


@given(st.text(alphabet="0123456789-=,; ab.", max_size=20), st.sampled_from([mix.parse_intents, mix.parse_lengths]))
def test_any_text_is_read_or_refused(text, parse):
    with contextlib.suppress(mix.MixError):
        assert all(weight > 0 for weight in mix_weights(parse(text)))


def mix_weights(found: dict[str, float] | tuple[mix.Length, ...]) -> list[float]:
    return list(found.values()) if isinstance(found, dict) else [length.weight for length in found]
