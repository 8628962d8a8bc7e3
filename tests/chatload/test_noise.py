from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import noise

TEXT = "Where is my order, please? It's 3 days late!"
KINDS = st.integers(1, 15)
SERIALS = st.integers(0, noise.SERIALS - 1)
TEXTS = st.text(min_size=1, max_size=80).filter(str.strip)


def varied(kinds: int, text: str = TEXT, count: int = 200) -> list[str]:
    return [noise.vary(text, noise.variant(kinds, serial), 1, 0) for serial in range(count)]


@given(TEXTS, KINDS, SERIALS, st.integers(0, 2**40), st.integers(0, 300))
def test_any_variant_of_any_text_is_a_message_of_the_contract_and_always_the_same(text, kinds, serial, seed, worker):
    made = noise.vary(text, noise.variant(kinds, serial), seed, worker)
    assert made.strip()
    assert made == noise.vary(text, noise.variant(kinds, serial), seed, worker)
    assert noise.vary(text, 0, seed, worker) == text


@given(KINDS, SERIALS, st.sampled_from(["a", "ß", "ŉ", "語", "👍", "! "]))
def test_the_longest_text_stays_within_the_contract(kinds, serial, letter):
    text = letter * (8192 // len(letter.encode()))
    made = noise.vary(text, noise.variant(kinds, serial), 1, 0)
    assert len(made.encode()) <= 8192
    assert noise.has_reference(made) == bool(kinds & noise.REFERENCE)


@given(KINDS, SERIALS)
def test_a_variant_fits_its_column_and_says_what_was_done(kinds, serial):
    assert 0 < noise.variant(kinds, serial) < 2**32
    assert noise.variant(kinds, serial) % 16 == kinds


def test_a_typing_error_is_one_letter_off():
    for made in varied(noise.TYPOS, "where is my order"):
        assert made != "where is my order"
        assert distance(made, "where is my order") == 1


def distance(one: str, other: str) -> int:
    """Damerau's distance, with a swap of neighbours as one step."""
    table = {(i, -1): i + 1 for i in range(-1, len(one))} | {(-1, j): j + 1 for j in range(-1, len(other))}
    for i, here in enumerate(one):
        for j, there in enumerate(other):
            steps = [table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + (here != there)]
            if i and j and here == other[j - 1] and one[i - 1] == there:
                steps.append(table[i - 2, j - 2] + 1)
            table[i, j] = min(steps)
    return table[len(one) - 1, len(other) - 1]


def test_typing_errors_are_of_all_kinds():
    lengths = [len(made) - len("where is my order") for made in varied(noise.TYPOS, "where is my order")]
    assert min(lengths.count(change) for change in (-1, 0, 1)) > 20


def test_a_long_text_has_more_typing_errors():
    text = "where is the order that we have paid for in the middle of the month before last, and who will pay for that"
    assert {distance(made, text) for made in varied(noise.TYPOS, text, 60)} <= {1, 2, 3}
    assert max(distance(made, text) for made in varied(noise.TYPOS, text, 60)) == 3


def test_case_is_lower_upper_or_a_first_capital():
    assert set(varied(noise.CASE)) == {TEXT.lower(), TEXT.upper(), TEXT.capitalize()} - {TEXT}
    assert set(varied(noise.CASE, "hi")) == {"HI", "Hi"}
    assert set(varied(noise.CASE, "12.50 ?")) == {"12.50 ?"}


def test_missing_punctuation_leaves_numbers_as_they_are():
    assert set(varied(noise.PUNCTUATION)) == {"Where is my order please Its 3 days late"}
    assert set(varied(noise.PUNCTUATION, "$12.50, really?!")) == {"$12.50 really"}
    assert set(varied(noise.PUNCTUATION, "??")) == {"??"}


def test_a_text_of_one_letter_is_not_left_out():
    assert all(made.strip() for made in varied(noise.TYPOS, "k"))


def test_references_are_never_the_same_twice():
    places = [
        (worker, serial)
        for worker in (0, 1, 42, 99)
        for serial in [*range(5_000), *range(noise.SERIALS - 50, noise.SERIALS)]
    ]
    found = {noise.reference(7, worker, serial) for worker, serial in places}
    assert len(found) == len(places)
    assert all(re.fullmatch(r"#\d{10}", mark) for mark in found)
    assert all(noise.has_reference(f"hi {mark}") for mark in found)


@pytest.mark.parametrize("text", ["", "  ", "order #12345", "order 4821305577", "#4821305577x", "#４８２１３０５５７７"])
def test_what_does_not_end_in_a_reference_is_told(text):
    assert not noise.has_reference(text)


def test_noise_is_read():
    assert noise.parse("typos=0.05, case=0.2") == noise.Noise(0.05, 0.2, 0.0)
    assert noise.parse("") == noise.Noise()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("typos", "'' is no number"),
        ("typos=x", "'x' is no number"),
        ("typos=5", "5 is not from 0 to 1; 5 % of the messages are 0.05"),
        ("case=nan", "nan is not from 0 to 1"),
        ("emoji=0.1", "'emoji=0.1': write typos=, case= and punctuation="),
        ("case=0.1,case=0.2", "'case=0.2': write"),
    ],
)
def test_noise_that_cannot_be_is_refused(text, message):
    with pytest.raises(noise.NoiseError, match=re.escape(message)):
        noise.parse(text)
