from __future__ import annotations

import itertools
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import arrivals, corpus

ROOT = Path(__file__).resolve().parents[2]


def test_columns_are_found_by_name_in_any_order():
    found = corpus.parse("split\tintent\ttext\noos_test\toos\thello there\n", "f")
    assert found == [corpus.Utterance("hello there", "oos", "test")]


def test_intent_and_split_are_optional_and_quotes_mean_nothing():
    assert corpus.parse('utterance\n"hi\n', "f") == [corpus.Utterance('"hi', "", "")]


def test_comments_above_the_header_and_blank_lines_are_skipped():
    assert len(corpus.parse("# made by hand\nutterance\tintent\n\nhi\tgreet\r\n", "f")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f: the file is empty"),
        ("utterance\tintent\n", "f: no utterance in it"),
        ("hello\tthere\nx\ty\n", "f: no column of utterances, called utterance or text"),
        ("utterance\tintent\na\tb\tc\n", "f:2: 3 columns, but the first line names 2"),
        ("utterance\tintent\n\tb\n", "f:2: the utterance is empty"),
    ],
)
def test_a_bad_file_is_refused_with_file_and_line(text, message):
    with pytest.raises(corpus.CorpusError, match=re.escape(message)):
        corpus.parse(text, "f")


@given(st.text(alphabet=st.sampled_from("ab\t\n\r#utterance ")))
def test_any_text_is_parsed_or_refused(text):
    try:
        found = corpus.parse("utterance\tintent\n" + text, "f")
    except corpus.CorpusError:
        return
    assert all(utterance.text.strip() for utterance in found)


def test_the_test_split_is_replayed_where_there_is_one():
    mixed = corpus.parse("text\tsplit\na\ttrain\nb\ttest\n", "f")
    assert corpus.choose_split(mixed) == ("test", mixed[1:])
    assert corpus.choose_split(mixed[:1]) == ("all", mixed[:1])


def test_drawing_is_seeded_and_even():
    drawn = list(itertools.islice(corpus.draw(4, arrivals.seeds(1, 0).utterances), 8_000))
    assert drawn == list(itertools.islice(corpus.draw(4, arrivals.seeds(1, 0).utterances), 8_000))
    assert all(1_800 < count < 2_200 for count in Counter(drawn).values())


# --- the corpus that ships with the project ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def support() -> list[corpus.Utterance]:
    return corpus.parse((ROOT / "corpus" / "support.tsv").read_text(), "corpus/support.tsv")


def test_the_corpus_has_enough_intents_and_utterances(support):
    train = Counter(utterance.intent for utterance in support if utterance.split == "train")
    test = Counter(utterance.intent for utterance in support if utterance.split == "test")
    assert set(train) == set(test)
    assert "out_of_scope" in train
    assert len(train) >= 26
    assert min(train.values()) >= 50
    assert min(test.values()) >= 12


def test_changing_a_company_address_is_changing_customer_information(support):
    assert {u.intent for u in support if u.text == "change company address"} == {"change_customer_info"}


def test_the_test_split_holds_no_near_duplicate_of_the_train_split(support):
    train = [trigrams(u.text) for u in support if u.split == "train"]
    for utterance in support:
        if utterance.split == "test":
            mine = trigrams(utterance.text)
            likeness = max(len(mine & other) / len(mine | other) for other in train)
            assert likeness < 0.6, utterance.text


def test_no_utterance_stands_twice(support):
    texts = Counter(" ".join(re.findall(r"\w+", u.text.lower())) for u in support)
    assert [text for text, count in texts.items() if count > 1] == []


def trigrams(text: str) -> set[str]:
    text = " " + " ".join(re.findall(r"\w+", text.lower())) + " "
    return {text[i : i + 3] for i in range(len(text) - 2)}


def test_a_fingerprint_is_of_what_is_replayed():
    one = [corpus.Utterance("where is it", "order", "test"), corpus.Utterance("hi", "", "test")]
    # printf 'where is it\torder\nhi\t\n' | sha256sum
    assert corpus.fingerprint(one) == "2af48722ff70"
    others = [one[:1], one[::-1], [corpus.Utterance("where is it", "refund", "test"), one[1]]]
    assert len({corpus.fingerprint(found) for found in (one, *others)}) == 4
