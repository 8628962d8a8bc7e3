from __future__ import annotations

from collections import Counter, deque
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload import arrivals, corpus, messages, noise
from chatload.messages import Drawing

TEXTS = [f"text number {number}, please" for number in range(40)]
ALL_NOISE = noise.Noise(0.05, 0.2, 0.3)


def drawn(drawing: Drawing, count: int, seed: int = 1, worker: int = 0, texts: list[str] = TEXTS) -> list[tuple[int, int]]:
    return list(islice(messages.draw(texts, drawing, arrivals.seeds(seed, worker), worker), count))


def sent(found: list[tuple[int, int]], seed: int = 1, worker: int = 0, texts: list[str] = TEXTS) -> list[str]:
    return [noise.vary(texts[index], variant, seed, worker) for index, variant in found]


def test_a_plain_run_draws_what_it_always_drew():
    plain = list(islice(corpus.draw(40, arrivals.seeds(3, 1).utterances), 2_000))
    assert drawn(Drawing(), 2_000, seed=3, worker=1) == plain
    # As they were before there were other sources of chance, so that a seed of an older run plays the same plan.
    assert [index for index, _ in plain[:6]] == [31, 23, 29, 15, 8, 19]


def test_each_source_of_chance_stands_alone():
    plain = [index for index, _ in drawn(Drawing(), 3_000)]
    noisy = drawn(Drawing(noise=ALL_NOISE), 3_000)
    assert [index for index, _ in noisy] == plain
    weighted = drawn(Drawing(np.full(40, 1 / 40), ALL_NOISE), 3_000)
    assert [variant for _, variant in weighted] == [variant for _, variant in noisy]


def test_utterances_are_drawn_by_their_weights():
    weights = np.arange(40) / np.arange(40).sum()
    counts = Counter(index for index, _ in drawn(Drawing(weights), 60_000))
    assert 0 not in counts
    for index in range(1, 40):
        expected = 60_000 * weights[index]
        assert abs(counts[index] - expected) < 5 * expected**0.5, index


def test_each_kind_of_noise_comes_in_its_share_independently():
    kinds = np.array([variant % 16 for _, variant in drawn(Drawing(noise=ALL_NOISE), 50_000)])
    for kind, share in ((noise.TYPOS, 0.05), (noise.CASE, 0.2), (noise.PUNCTUATION, 0.3), (noise.REFERENCE, 0.0)):
        assert np.mean((kinds & kind) > 0) == pytest.approx(share, abs=0.01)
    assert np.mean((kinds & 6) == 6) == pytest.approx(0.06, abs=0.005)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_repeats_come_in_their_share_and_repeat_one_of_the_last_thousand(share):
    texts = sent(drawn(Drawing(repeats=share, noise=ALL_NOISE), 20_000))
    recent, seen, repeats = deque(maxlen=messages.RECENT), set(), 0
    for text in texts:
        assert (text in recent) == (text in seen)  # what is new is new to the whole run
        repeats += text in recent
        recent.append(text)
        seen.add(text)
    assert abs(repeats - 20_000 * share) <= 5 * (20_000 * share * (1 - share)) ** 0.5 + 1


def test_without_repeats_a_small_corpus_never_says_the_same_twice():
    assert len(set(sent(drawn(Drawing(repeats=0.0), 100_000)))) == 100_000


def test_the_corpus_as_it_stands_comes_first():
    found = drawn(Drawing(repeats=0.0), 2_000)
    plain = [message for message in found if message[1] == 0]
    assert sorted(plain) == [(index, 0) for index in range(40)]
    assert [index for index, _ in found] == [index for index, _ in drawn(Drawing(), 2_000)]


def test_processes_do_not_repeat_each_other():
    found = [text for worker in range(4) for text in sent(drawn(Drawing(repeats=0.0), 5_000, 1, worker), 1, worker)]
    assert len(set(found)) == len(found)


def test_only_repeats_are_sent_where_only_repeats_are_wanted():
    assert len(set(drawn(Drawing(repeats=1.0), 3_000))) == 1


@settings(max_examples=40)
@given(
    st.lists(st.text(min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=6),
    st.floats(0, 0.9),
    st.floats(0, 1),
    st.integers(0, 2**32),
)
def test_what_is_no_repeat_is_new_whatever_the_corpus(texts, share, typos, seed):
    """Duplicates in the corpus and texts that end as a reference does included."""
    texts = [*texts, texts[0], noise.reference(seed, 0, 3), f"{texts[0]} {noise.reference(seed, 0, 0)}"]
    drawing = Drawing(None, noise.Noise(typos, 0.2, 0.3), share)
    found = drawn(drawing, 300, seed, 0, texts)
    made: dict[str, tuple[int, int]] = {}
    for message, text in zip(found, sent(found, seed, 0, texts), strict=True):
        assert made.setdefault(text, message) == message
    assert found == drawn(drawing, 300, seed, 0, texts)
