from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import objective
from chatload.objective import MET, MISSED, UNDECIDED, Estimate


def test_an_objective_is_a_list_of_clauses():
    found = objective.parse("p99<100ms, p99.9<0.25s, errors<0.1%, accuracy>97%, throughput>=0.99*rate")
    assert [(c.subject, c.below, c.limit) for c in found] == [
        ("p99", True, 100),
        ("p99.9", True, 250),
        ("errors", True, pytest.approx(0.001)),
        ("accuracy", False, pytest.approx(0.97)),
        ("throughput", False, 0.99),
    ]
    assert found[-1].limit_at(200) == pytest.approx(198)
    assert objective.parse("throughput>=50")[0].limit_at(200) == 50


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the objective is empty"),
        ("p99", "'p99' is not a clause"),
        ("p99<", "is not a clause"),
        ("p98<1ms", "no such thing as 'p98'"),
        ("p99<100", "'100' has no unit: write 100ms or 100s"),
        ("p99>100ms", "p99 is good when below (<) its limit"),
        ("accuracy<97%", "accuracy is good when above (>) its limit"),
        ("errors<101%", "'101%' is more than 100%"),
        ("throughput>=fast", "'fast' is not a throughput"),
        ("throughput>=1.2.3", "'1.2.3' is not a throughput"),
        ("errors<0%", "'errors<0%': no run can show that: choose a limit that leaves some room"),
        ("p99<0ms", "'p99<0ms': no run can show that"),
        ("accuracy>=100%", "'accuracy>=100%': no run can show that"),
        ("errors<100%", "'errors<100%': no run can miss that"),
        ("accuracy>0%", "'accuracy>0%': no run can miss that"),
        ("throughput>=0*rate", "'throughput>=0*rate': no run can miss that"),
    ],
)
def test_a_bad_objective_is_refused_with_what_would_be_right(text, message):
    with pytest.raises(objective.ObjectiveError, match=re.escape(message)):
        objective.parse(text)


@given(st.text(alphabet="p9.<>=%ms, *rate0a"))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(objective.ObjectiveError):
        assert objective.parse(text)


@pytest.mark.parametrize(
    ("text", "low", "high", "answer"),
    [
        ("p99<100ms", 80, 99, MET),
        ("p99<100ms", 80, 101, UNDECIDED),
        ("p99<100ms", 100, 120, MISSED),
        ("p99<100ms", 80, float("inf"), UNDECIDED),
        ("p99<100ms", float("inf"), float("inf"), MISSED),
        ("accuracy>97%", 0.98, 0.99, MET),
        ("accuracy>97%", 0.96, 0.99, UNDECIDED),
        ("accuracy>97%", 0.90, 0.95, MISSED),
    ],
)
def test_a_clause_is_decided_only_by_the_whole_interval(text, low, high, answer):
    clause = objective.parse(text)[0]
    assert clause.judge(Estimate((low + high) / 2, low, high), rate=1) == answer


def test_what_is_not_carried_is_not_decided():
    assert objective.parse("p99<1s")[0].judge(Estimate(None, None, None), rate=1) == UNDECIDED
