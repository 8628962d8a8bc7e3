"""Corpora in each layout: what is read, and what is refused with its place."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from chatload import corpus, corpus_file, layouts, mix, noise, settings
from chatload.corpus import Utterance

TEXTS = ["where is my card?", 'it says "declined", twice', "two\nlines"]
BANKING77 = 'text,category\nwhere is my card?,card_arrival\n"it says ""declined"", twice",declined\n"two\nlines",declined\n'
CLINC150 = {"train": [["hi", "greeting"]], "oos_test": [["who won", "oos"]], "val": [], "test": [["bye", "goodbye"]]}


def write(tmp_path, name: str, text: str) -> str:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def test_banking77s_csv_is_read_with_its_quotes(tmp_path):
    found = corpus_file.read(write(tmp_path, "test.csv", "\ufeff" + BANKING77))
    assert [utterance.text for utterance in found] == TEXTS
    assert [utterance.intent for utterance in found] == ["card_arrival", "declined", "declined"]


def test_clinc150s_json_is_read_with_its_splits(tmp_path):
    found = corpus_file.read(write(tmp_path, "data_full.json", json.dumps(CLINC150)))
    assert found == [
        Utterance("hi", "greeting", "train"),
        Utterance("who won", "oos", "test"),
        Utterance("bye", "goodbye", "test"),
    ]
    assert corpus.choose_split(found)[0] == "test"


def test_json_lines_are_read_by_their_names(tmp_path):
    text = '{"Text": "hi", "label": "greeting", "n": 1}\n\n{"text": "who won", "label": null}\n'
    found = corpus_file.read(write(tmp_path, "f.jsonl", text))
    assert found == [Utterance("hi", "greeting", ""), Utterance("who won", "", "")]


def test_parquet_is_read_by_its_columns(tmp_path):
    parquet.write_table(pa.table({"split": ["test"], "utterance": ["hi"], "intent": ["greeting"]}), tmp_path / "f.parquet")
    assert corpus_file.read(str(tmp_path / "f.parquet")) == [Utterance("hi", "greeting", "test")]


def test_any_other_ending_is_the_projects_own_layout(tmp_path):
    assert corpus_file.read(write(tmp_path, "f.tsv", 'text\n"hi, there\n')) == [Utterance('"hi, there', "", "")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("f.csv", "", "f.csv: no utterance in it"),
        ("f.csv", "a,b\n1,2\n", "f.csv:2: no column of utterances, called utterance or text"),
        ("f.csv", "text,intent\nhi, there,greet\n", "f.csv:2: not as many cells as the first line names"),
        ("f.csv", "text,intent\nhi\n", "f.csv:2: not as many cells as the first line names"),
        ("f.csv", 'text\n"hi\n', "f.csv:3: no CSV (unexpected end of data)"),
        ("f.csv", "text,intent\n ,greet\n", "f.csv:2: the utterance is empty"),
        ("f.jsonl", '{"text": "hi"}\nhello\n', "f.jsonl:2: no JSON"),
        ("f.jsonl", '["hi"]\n', "f.jsonl:1: not an object"),
        ("f.jsonl", '{"text": "hi", "label": 11}\n', "f.jsonl:1: 11 is no text"),
        ("f.json", "[1]", "f.json: not CLINC150's layout"),
        ("f.json", '{"test": 1}', "f.json: split 'test' is no list"),
        ("f.json", '{"test": [["hi"]]}', "f.json: number 1 of 'test' is not [utterance, intent]"),
        ("f.parquet", "text", "f.parquet: no Parquet"),
    ],
)
def test_a_bad_corpus_is_refused_with_its_place(tmp_path, name, text, message):
    with pytest.raises(corpus.CorpusError, match=re.escape(message)) as raised:
        corpus_file.read(write(tmp_path, name, text))
    assert "\n" not in str(raised.value)


def test_columns_with_other_usual_names_are_found(tmp_path):
    text = "id,query,class\n1,hi,greeting\n"
    assert corpus_file.read(write(tmp_path, "f.csv", text)) == [Utterance("hi", "greeting", "")]


OTHER = [
    ("f.csv", "Body,Topic,text\nhi,greeting,x\n"),
    ("f.tsv", "Body\tTopic\ttext\nhi\tgreeting\tx\n"),
    ("f.jsonl", '{"Body": "hi", "Topic": "greeting", "text": "x"}\n'),
]


@pytest.mark.parametrize(("name", "text"), OTHER)
def test_columns_can_be_named_in_any_layout(tmp_path, name, text):
    path = write(tmp_path, name, text)
    assert corpus_file.read(f"{path}:text=body,intent=topic") == [Utterance("hi", "greeting", "")]
    assert corpus_file.read(f"{path}:text=body,intent=") == [Utterance("hi", "", "")]
    with pytest.raises(corpus.CorpusError, match=r"f\.\w+(:1)?: no column called tpic \(found: "):
        corpus_file.read(f"{path}:text=body,intent=tpic")
    with pytest.raises(corpus.CorpusError, match="no column of utterances, called bdy; name yours"):
        corpus_file.read(f"{path}:text=bdy")


def test_parquets_columns_can_be_named(tmp_path):
    parquet.write_table(pa.table({"m": ["hi"], "label": [3], "topic": ["greeting"]}), tmp_path / "f.parquet")
    assert corpus_file.read(f"{tmp_path}/f.parquet:text=m,intent=topic") == [Utterance("hi", "greeting", "")]


@pytest.mark.parametrize("reference", ["f.csv:text=", "f.csv:text=a,text=b", "f.csv:text=a,word=b"])
def test_a_choice_of_columns_that_cannot_be_is_refused(reference):
    with pytest.raises(corpus.CorpusError, match="is no column: write text=, intent= or split=, each once"):
        corpus_file.read(reference)


MIXES = [("m.csv", "intent,weight\ngreeting,3\n,1\n"), ("m.tsv", "weight\tIntent\n3\tgreeting\n\n1\t\r\n")]


@pytest.mark.parametrize(("name", "text"), MIXES)
def test_a_mix_is_read_from_a_file(tmp_path, name, text):
    assert corpus_file.read_mix(write(tmp_path, name, text)) == {"greeting": 3, "": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("intent,share\na,1\n", "m.csv:2: a mix has the columns intent and weight (found: intent, share)"),
        ("intent,weight\na,x\n", "m.csv:2: intent 'a' has the weight 'x'"),
        ("intent,weight\na,1\na,2\n", "m.csv:3: intent 'a' is named twice"),
    ],
)
def test_a_bad_mix_is_refused_with_its_place(tmp_path, text, message):
    with pytest.raises(mix.MixError, match=re.escape(message)):
        corpus_file.read_mix(write(tmp_path, "m.csv", text))


def wanted(tmp_path, **options: str) -> settings.Settings:
    defaults = {option.name: option.default for option in settings.OPTIONS}
    path = write(tmp_path, "c.csv", "text,intent\nhi,greeting\nwhere is my order,order\nwell,\n")
    return settings.read({**defaults, "corpus": path, **options}, "http://127.0.0.1:1", 60)


def test_what_is_replayed_is_drawn_as_the_options_say(tmp_path):
    plain = corpus_file.replayed(wanted(tmp_path)).drawing
    assert (plain.weights, plain.noise, plain.repeats) == (None, noise.Noise(), None)
    chosen = corpus_file.replayed(wanted(tmp_path, mix="order=3;greeting=1", noise="case=0.5", repeats="0")).drawing
    assert chosen.weights == pytest.approx([0.25, 0.75, 0])
    assert (chosen.noise, chosen.repeats) == (noise.Noise(case=0.5), 0.0)
    assert corpus_file.replayed(wanted(tmp_path, mix="uniform")).drawing.weights == pytest.approx([1 / 3] * 3)
    mixed = corpus_file.replayed(wanted(tmp_path, mix="greeting=1;order=1", lengths="1=1,4=1"))
    assert mixed.drawing.weights == pytest.approx([0.5, 0.5, 0])
    with pytest.raises(mix.MixError, match="cannot both be had"):
        corpus_file.replayed(wanted(tmp_path, mix="uniform", lengths="1=1,4=1"))


@pytest.mark.parametrize("name", ["none.csv", "none.tsv", "none.parquet"])
def test_a_missing_corpus_is_refused(tmp_path, name):
    with pytest.raises(corpus.CorpusError, match=f"{name}: cannot be read"):
        corpus_file.read(str(tmp_path / name))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "f.csv").write_bytes(b"text\n\xff\n")
    with pytest.raises(corpus.CorpusError, match=r"f\.csv: not UTF-8"):
        corpus_file.read(str(tmp_path / "f.csv"))


@given(st.text(alphabet=st.sampled_from('ab",\n\r {}[]:1')), st.sampled_from(["csv", "json_lines", "clinc150"]))
def test_any_text_is_read_or_refused(text, layout):
    try:
        found = layouts.utterances(getattr(layouts, f"{layout}_records")(text, "f"), "f")
    except corpus.CorpusError:
        return
    assert all(utterance.text.strip() for utterance in found)
