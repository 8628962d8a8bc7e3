"""The rows of calls, and what is summed up of them."""

from __future__ import annotations

import numpy as np
import pytest

from chatload import calls, samples
from chatload.call_graph import parse
from chatload.record import Record

GRAPH = parse({"scope": [], "intent": ["scope"], "act": ["scope"]})
NEVER = samples.NEVER


def rows(*found):
    record = Record(calls.ROW)
    for row in found:
        record.append(*row)
    return np.frombuffer(record.take(), dtype=calls.DTYPE)


def turn(number, at_s, scope_ms, intent_ms, act_ms):
    """The rows of a turn all of whose calls answered."""
    scoped_s = at_s + scope_ms / 1e3
    critical = ("intent", "act")[act_ms > intent_ms]
    return [
        (number, at_s, 0, at_s, at_s, scoped_s, samples.OK, 0, 0.1, 1.0, True),
        (number, at_s, 1, scoped_s, scoped_s, scoped_s + intent_ms / 1e3, samples.WRONG, 1, 0.1, 1.0, critical == "intent"),
        (number, at_s, 2, scoped_s, scoped_s, scoped_s + act_ms / 1e3, samples.OK, 2, 0.1, 1.0, critical == "act"),
    ]


def test_a_row_is_as_long_as_its_columns():
    assert calls.ROW.size == calls.DTYPE.itemsize


def test_what_is_packed_is_read_again():
    row = (7, 0.5, 2, 0.6, 0.7, 0.9, 503, -1, 0.25, 1.5, True)
    assert rows(row).tolist() == [row]


def test_the_calls_of_the_window_are_summed_up_by_name():
    turns = [row for number in range(400) for row in turn(number, 1 + number / 100, 2, 4, 10 if number % 4 == 0 else 3)]
    found = calls.summarise(rows(*turn(9999, 0.5, 500, 500, 500), *turns), GRAPH, 1.0, 6.0)
    assert list(found) == ["scope", "intent", "act"]
    assert [call["count"] for call in found.values()] == [400, 400, 400]
    assert [call["critical_share"] for call in found.values()] == [1.0, 0.75, 0.25]
    assert found["scope"]["latency_ms"]["p50"].value == pytest.approx(2)
    assert found["act"]["latency_ms"]["p90"].value == pytest.approx(10)
    assert found["intent"]["outcomes"] == {"wrong": 400}


def test_calls_that_failed_have_no_latency_and_turns_that_failed_no_critical_path():
    failed = [(number, 1.0, 0, 1.0, 1.0, 1.5, 503, -1, NEVER, NEVER, False) for number in range(10)]
    found = calls.summarise(rows(*failed, *turn(10, 1.0, 2, 4, 3)), GRAPH, 0.0, 6.0)
    assert found["scope"]["outcomes"] == {"ok": 1, "http_503": 10}
    assert found["scope"]["latency_ms"]["p50"].value == np.inf
    assert found["scope"]["critical_share"] == 1.0
    assert found["intent"]["count"] == 1


def test_without_an_answered_turn_no_share_is_claimed():
    found = calls.summarise(rows((0, 1.0, 0, 1.0, 1.0, 1.5, 503, -1, NEVER, NEVER, False)), GRAPH, 0.0, 6.0)
    assert [call["critical_share"] for call in found.values()] == [None, None, None]
    assert found["act"]["latency_ms"]["p50"].value is None
