"""The intent model: an artefact folder in, contract answers out."""

from __future__ import annotations

import json
import logging
import re

import intent_model
import pytest
import tiny
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from intent_model import BadArtefact, IntentModel, Tokens, bucket_for, longest_input, server_timing, softmax

from model import checkpoint
from model.evaluation import probabilities_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.tiny_artefact(tmp_path_factory.mktemp("model") / "artefact")


@pytest.fixture(scope="module")
def model(folder):
    return IntentModel(folder)


def question(text):
    return json.dumps({"text": text}).encode()


def test_the_answer_has_the_contract_s_fields_in_order(model):
    reply = model.answer(question("where is my order"))
    answer = json.loads(reply.body)
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert list(answer) == ["intent", "confidence", "alternatives", "model", "version", "truncated", "tokens"]
    assert (answer["model"], answer["version"], answer["truncated"], answer["tokens"]) == ("tiny", "1", False, 6)
    assert reply.body == json.dumps(answer, separators=(",", ":")).encode()


def test_the_answer_is_the_reference_s(model, folder):
    source = folder.parent / f"{folder.name}-checkpoint"
    classifier, tokenizer = checkpoint.load_classifier(source), checkpoint.load_tokenizer(source)
    texts = ["where is my order", "refund", "cancel it 12 !", "when will it come " * 20]
    for text, expected in zip(texts, probabilities_of(classifier, tokenizer, texts, 512), strict=True):
        answer = json.loads(model.answer(question(text)).body)
        ranked = [(answer["intent"], answer["confidence"])]
        ranked += [(other["intent"], other["confidence"]) for other in answer["alternatives"]]
        best = sorted(zip(tiny.INTENTS, expected.tolist(), strict=True), key=lambda pair: -pair[1])[:4]
        assert [intent for intent, _ in ranked] == [intent for intent, _ in best]
        assert [confidence for _, confidence in ranked] == pytest.approx([value for _, value in best], abs=2e-6)


def test_server_timing_states_both_times_in_ms(model):
    header = model.answer(question("where is my order")).headers["Server-Timing"]
    found = re.fullmatch(r"tokenize;dur=(\d+\.\d\d), infer;dur=(\d+\.\d\d)", header)
    assert found
    assert 0 < float(found[2]) < 10_000
    assert server_timing(0.1234, 5.3099) == "tokenize;dur=0.12, infer;dur=5.31"


def test_a_rehearsal_goes_the_way_of_an_answer_without_inference(folder, monkeypatch):
    model, encoded = IntentModel(folder), []
    monkeypatch.setattr(intent_model, "encode", lambda answer: encoded.append(answer) or b"")
    monkeypatch.setattr(model, "infer", lambda rows: pytest.fail("inferred"))
    model.rehearse()
    [answer] = encoded
    assert answer["tokens"] > 6
    assert answer["confidence"] == pytest.approx(1 / len(model.labels), abs=1e-6)


def test_a_model_that_cannot_rehearse_is_not_served(folder, monkeypatch):
    monkeypatch.setattr(intent_model, "encode", lambda answer: {}["none"])
    with pytest.raises(KeyError):
        IntentModel(folder)


def test_a_long_text_is_cut_and_answered(model):
    fits = json.loads(model.answer(question("order " * 510)).body)
    cut = json.loads(model.answer(question("order " * 511)).body)
    assert (fits["truncated"], fits["tokens"]) == (False, 512)
    assert (cut["truncated"], cut["tokens"]) == (True, 512)


def test_bad_requests_have_the_contract_s_error(model):
    reply = model.answer(b"[]")
    assert reply.status == 400
    assert reply.headers == {"Content-Type": "application/json"}
    assert json.loads(reply.body)["error"]["code"] == "not_an_object"


@pytest.mark.parametrize("failure", [RuntimeError("boom"), MemoryError(), RecursionError("deep"), ValueError("NaN")])
def test_a_failing_model_answers_500_logs_why_and_lives(folder, caplog, failure):
    model = IntentModel(folder)
    graph = model.graph

    def fail(*_):
        raise failure

    model.graph = fail
    with caplog.at_level(logging.ERROR):
        reply = model.answer(question("where is my order"))
    assert reply.status == 500
    assert json.loads(reply.body)["error"]["code"] == "internal"
    assert type(failure).__name__ in caplog.text
    model.graph = graph
    assert model.answer(question("where is my order")).status == 200


def test_logits_that_are_no_numbers_are_an_error_not_an_answer(folder):
    model = IntentModel(folder)
    model.graph = lambda *_: torch.full((1, len(tiny.INTENTS)), float("nan"))
    assert model.answer(question("where is my order")).status == 500


@settings(max_examples=150)
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: json.dumps({"text": text}).encode())))
def test_any_bytes_get_an_answer_or_an_error_of_the_contract(model, body):
    reply = model.answer(body)
    parsed = json.loads(reply.body)
    assert reply.headers["Content-Type"] == "application/json"
    if reply.status == 200:
        assert parsed["intent"] in tiny.INTENTS
        assert len(parsed["alternatives"]) == 3
    else:
        assert reply.status in (400, 413)
        assert set(parsed["error"]) == {"code", "message"}


@pytest.mark.parametrize(("tokens", "length"), [(1, 8), (8, 8), (9, 16), (16, 16), (17, 64)])
def test_the_smallest_bucket_that_fits_is_taken(tokens, length):
    assert bucket_for(tokens, [64, 8, 16]) == length


def test_without_buckets_an_input_keeps_its_length():
    assert bucket_for(13, None) == 13


def test_the_largest_bucket_bounds_the_input():
    assert longest_input({"max_tokens": 512, "buckets": [16, 64]}) == 64
    assert longest_input({"max_tokens": 100, "buckets": [512]}) == 100
    assert longest_input({"max_tokens": 512, "buckets": None}) == 512


def test_padding_fills_up_to_the_bucket(folder):
    model = IntentModel(folder)
    model.buckets = [4, 8]
    ids, mask, types = model.pad(Tokens([2, 7, 9, 8, 3], [0, 0, 0, 1, 1], False))
    assert ids == [2, 7, 9, 8, 3, 0, 0, 0]
    assert mask == [1, 1, 1, 1, 1, 0, 0, 0]
    assert types == [0, 0, 0, 1, 1, 0, 0, 0]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=40))
def test_probabilities_are_those_of_torch(logits):
    expected = torch.softmax(torch.tensor(logits, dtype=torch.double), dim=-1).tolist()
    assert softmax(logits) == pytest.approx(expected, abs=1e-12)


def test_a_padded_artefact_answers_as_the_exact_one(model, folder, tmp_path):
    source = folder.parent / f"{folder.name}-checkpoint"
    padded = IntentModel(tiny.tiny_artefact(tmp_path / "padded", "article", source))
    assert padded.buckets == [512]
    for text in ("where is my order", "order " * 600):
        exact, wide = (json.loads(one.answer(question(text)).body) for one in (model, padded))
        assert exact.pop("confidence") == pytest.approx(wide.pop("confidence"), abs=1e-5)
        assert [other["intent"] for other in exact.pop("alternatives")] == [
            other["intent"] for other in wide.pop("alternatives")
        ]
        assert exact == wide


def damaged(folder, tmp_path, name, content):
    copy = tmp_path / "damaged"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    return copy


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("artefact.json", None, "cannot be read"),
        ("artefact.json", b"{", "not JSON"),
        ("artefact.json", b"[]", "not an artefact of schema 1"),
        ("artefact.json", b'{"schema": 1, "name": "x"}', '"version" is missing'),
        ("tokenizer.json", None, "not a tokenizer"),
        ("tokenizer.json", b"{}", "not a tokenizer"),
        ("model.pt", None, "not a TorchScript model"),
        ("model.pt", b"nonsense", "not a TorchScript model"),
    ],
)
def test_a_damaged_artefact_is_refused_by_name(folder, tmp_path, name, content, problem):
    with pytest.raises(BadArtefact) as caught:
        IntentModel(damaged(folder, tmp_path, name, content))
    assert name in str(caught.value)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)
