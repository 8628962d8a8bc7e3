"""The service: TorchServe's side, driven as TorchServe drives it."""

from __future__ import annotations

import inspect
import json
import logging
from pathlib import Path

import intent_cpu
import intent_service
import pytest
import tiny
import torch
from intent_cpu import IntentCpu
from intent_service import raw, threads_of
from ts import configs
from ts.context import Context, RequestProcessor
from ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl
from ts.utils.util import list_classes_from_module


@pytest.fixture(scope="module")
def metrics():
    """TorchServe's own, as a worker makes them."""
    found = MetricsCacheYamlImpl(config_file_path=str(Path(configs.__path__[0]) / "metrics.yaml"))
    found.initialize_cache()
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory, metrics):
    folder = tiny.tiny_artefact(tmp_path_factory.mktemp("service") / "artefact")
    made, root = IntentCpu(), logging.getLogger()
    level, threads = root.level, torch.get_num_threads()
    made.initialize(Context("intent", str(folder), {}, 1, None, "0", metrics=metrics, model_yaml_config={"threads": 1}))
    assert root.level == logging.WARNING
    assert torch.get_num_threads() == 1
    yield made
    root.setLevel(level)
    torch.set_num_threads(threads)


def handle(service, data):
    """Return (status, phrase, headers, body) of each request."""
    context = Context("intent", ".", {}, len(data), None, "0")
    context.request_processor = [RequestProcessor({}) for _ in data]
    bodies = service.handle(data, context)
    assert len(bodies) == len(data)
    return [
        (*context.get_response_status(index), context.get_response_headers(index), body) for index, body in enumerate(bodies)
    ]


def test_a_worker_rehearses_its_own_model(tmp_path, metrics, monkeypatch):
    given = []
    monkeypatch.setattr(intent_service, "read_ahead", given.append)
    monkeypatch.setattr(intent_service, "quiet", lambda ctx: None)
    made = IntentCpu()
    folder = tiny.tiny_artefact(tmp_path / "artefact")
    made.initialize(Context("intent", str(folder), {}, 1, None, "0", metrics=metrics, model_yaml_config={"threads": 1}))
    assert given == [made.model.rehearse]


def test_an_answer_has_status_headers_and_body(service):
    [(status, phrase, headers, body)] = handle(service, [{"body": bytearray(b'{"text":"where is my order"}')}])
    assert (status, phrase) == (200, "OK")
    assert headers["Content-Type"] == "application/json"
    assert headers["Server-Timing"].startswith("tokenize;dur=")
    assert json.loads(body)["model"] == "tiny"


def test_a_metric_that_nobody_reads_is_not_written_out(service, metrics, caplog):
    with caplog.at_level(logging.INFO):
        metrics.add_time("PredictionTime", 1.0)
        assert not caplog.records
        metrics.add_counter("Requests", 1)  # others still are, so this looks where it should
        assert caplog.records


def test_each_request_of_a_batch_gets_its_own_answer(service):
    replies = handle(service, [{"body": b'{"text":"refund"}'}, {"body": b"{"}, {"field": b"x"}])
    assert [(status, phrase) for status, phrase, _, _ in replies] == [
        (200, "OK"),
        (400, "Bad Request"),
        (415, "Unsupported Media Type"),
    ]


def test_a_query_string_beside_the_body_does_no_harm(service):
    [(status, _, _, _)] = handle(service, [{"campaign": b"7", "body": b'{"text":"refund"}'}])
    assert status == 200


@pytest.mark.parametrize(
    ("value", "body"),
    [
        (b"\xff", b"\xff"),
        (bytearray(b"{}"), b"{}"),
        ({"text": "é"}, b'{"text": "\\u00e9"}'),
        ([float("nan")], b"[NaN]"),
        ("plain", b"plain"),
    ],
)
def test_a_server_that_decodes_bodies_is_answered_all_the_same(value, body):
    assert raw(value) == body


def test_threads_come_from_the_environment_then_the_archive_then_one(monkeypatch):
    monkeypatch.delenv("INTENT_THREADS", raising=False)
    assert threads_of({}) == 1
    assert threads_of({"threads": 3}) == 3
    monkeypatch.setenv("INTENT_THREADS", "2")
    assert threads_of({"threads": 3}) == 2


def test_torchserve_finds_exactly_one_class_and_no_function_called_handle():
    assert [found.__name__ for found in list_classes_from_module(intent_cpu)] == ["IntentCpu"]
    assert not inspect.getmembers(intent_cpu, inspect.isfunction)
