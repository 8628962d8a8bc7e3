"""The corpus reader: what it takes, and where it says a file is wrong."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import ROOT
from model.corpus import SPLITS, Corpus, Utterance, read_corpus
from model.problem import UserProblem


def write(folder, content):
    path = folder / "corpus.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("utterance\tintent\tsplit\nhi\tgreet\ttrain\n", [("hi", "greet", "train")]),
        (
            "split\tlabel\ttext\noos_train\toos\ta b\nval\tx\tc\ntest\tx\td",
            [("a b", "oos", "train"), ("c", "x", "val"), ("d", "x", "test")],
        ),
        ("text\tintent\nhi\tgreet\n", [("hi", "greet", "train")]),
        (
            "# notes\n\n# more\ntext\tintent\n\nhi\tgreet\n\n# hi\tgreet\n",
            [("hi", "greet", "train"), ("# hi", "greet", "train")],
        ),
        ("text\tintent\r\nhi\tgreet\r\n", [("hi", "greet", "train")]),
        ("\ufefftext\tintent\nhi\tgreet\n", [("hi", "greet", "train")]),
        ('text\tintent\nsay "hi\tgreet\n"x\tgreet\n', [('say "hi', "greet", "train"), ('"x', "greet", "train")]),
        ("text\tintent\na\\tb\u2028c\tgreet\n", [("a\\tb\u2028c", "greet", "train")]),
        ("id\tText\tIntent\n7\thi\tgreet\n", [("hi", "greet", "train")]),
    ],
)
def test_reads(tmp_path, content, expected):
    assert read_corpus(write(tmp_path, content)).utterances == tuple(Utterance(*row) for row in expected)


def test_another_task_has_a_column_of_its_own_and_may_leave_utterances_out(tmp_path):
    path = write(tmp_path, "text\tintent\tact\na\tgreet\tsocial\nb\t\tquestion\nc\tgreet\t \n")
    assert read_corpus(path, "act").utterances == (Utterance("a", "social", "train"), Utterance("b", "question", "train"))
    with pytest.raises(UserProblem, match=r":3: the intent is empty"):
        read_corpus(path)
    with pytest.raises(UserProblem, match=r":1: the header names no column urgency"):
        read_corpus(path, "urgency")


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        ("", 1, "empty"),
        ("# only notes\n\n", 1, "empty"),
        ("hello\tworld\nhi\tgreet\n", 1, "names no column utterance or text"),
        ("text\tintents\nhi\tgreet\n", 1, "names no column intent or label"),
        ("text\tutterance\tintent\na\tb\tc\n", 1, "twice"),
        ("text,intent\nhi,greet\n", 1, "names no column"),
        ("text\tintent\nhi\n", 2, "1 columns where the header names 2"),
        ("text\tintent\nhi\tgreet\nhi\tgreet\tx\n", 3, "3 columns where the header names 2"),
        ("text\tintent\n \tgreet\n", 2, "utterance is empty"),
        ("text\tintent\nhi\t\n", 2, "intent is empty"),
        ("text\tintent\tsplit\nhi\tgreet\tdev\n", 2, 'split "dev"'),
        ("text\tintent\tsplit\nhi\tgreet\ttest\n", 3, "split train"),
        (b"text\tintent\nhi\tgreet\ncaf\xe9\tgreet\n", 3, "byte 3 is not UTF-8"),
    ],
)
def test_refuses_with_file_and_line(tmp_path, content, line, problem):
    path = write(tmp_path, content)
    with pytest.raises(UserProblem) as caught:
        read_corpus(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert problem in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserProblem, match="none.tsv: cannot read the corpus"):
        read_corpus(tmp_path / "none.tsv")


CELL = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(rows=st.lists(st.tuples(CELL, st.sampled_from(["a", "b"]), st.sampled_from(SPLITS)), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory, rows):
    rows = [*rows, ("x", "a", "train")]
    content = "utterance\tintent\tsplit\n" + "".join("\t".join(row) + "\n" for row in rows)
    path = write(tmp_path_factory.mktemp("corpus"), content)
    corpus = read_corpus(path)
    assert corpus.utterances == tuple(Utterance(*row) for row in rows)
    assert corpus.sha256 == hashlib.sha256(content.encode("utf-8")).hexdigest()


def test_without_a_test_split_the_first_500_of_train_stand_in_and_the_name_says_so(tmp_path):
    utterances = tuple(Utterance(str(number), "a", "train") for number in range(600))
    chosen, split = Corpus(tmp_path, "", utterances).test()
    assert [utterance.text for utterance in chosen] == [str(number) for number in range(500)]
    assert split == "train (first 500: no test split)"


def test_a_test_split_is_used_as_it_is(tmp_path):
    utterances = (Utterance("a", "x", "train"), Utterance("b", "x", "test"))
    assert Corpus(tmp_path, "", utterances).test() == ([utterances[1]], "test")


def test_the_shipped_corpus_reads():
    corpus = read_corpus(ROOT / "corpus" / "support.tsv")
    assert corpus.counts()["train"] > 1000
    assert corpus.counts()["test"] > 200
    assert {u.intent for u in corpus.split("test")} <= {u.intent for u in corpus.split("train")}


TASKS = {
    "language": {"english", "german", "french", "spanish"},
    "scope": {"in_scope", "out_of_scope"},
    "product": {"installation", "licence", "billing", "account", "sales", "application", "help", "other"},
    "urgency": {"urgent", "can_wait"},
    "act": {"question", "request", "statement", "social"},
}


@pytest.mark.parametrize("task", TASKS)
def test_the_assistant_s_corpus_has_labels_of_every_kind_to_train_and_to_test_on(task):
    corpus = read_corpus(ROOT / "corpus" / "assistant.tsv", task)
    assert {u.intent for u in corpus.split("train")} == {u.intent for u in corpus.split("test")} == TASKS[task]
    # Where one label is nearly all, a model that knows nothing but it would pass for a good one.
    assert min(sum(u.intent == label for u in corpus.utterances) for label in TASKS[task]) >= 70


def test_the_assistant_s_corpus_holds_the_support_corpus_with_its_split():
    support = read_corpus(ROOT / "corpus" / "support.tsv").utterances
    labelled = read_corpus(ROOT / "corpus" / "assistant.tsv", "product").utterances
    assert [(u.text, u.split) for u in labelled] == [(u.text, u.split) for u in support]
    products = {(u.intent, wide.intent) for u, wide in zip(support, labelled, strict=True)}
    assert len(products) == len({intent for intent, _ in products})
    scopes = {u.text: u.intent for u in read_corpus(ROOT / "corpus" / "assistant.tsv", "scope").utterances}
    assert {(u.intent == "out_of_scope", scopes[u.text] == "out_of_scope") for u in support} == {
        (True, True),
        (False, False),
    }
