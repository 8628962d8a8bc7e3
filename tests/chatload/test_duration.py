from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import duration, objective, samples, statistics, verdict

CLAUSES = ["p50<1s", "p99<1s", "p99.9<1s", "errors<1%", "accuracy>97%", "throughput>=0.9*rate"]


def clause(text: str) -> objective.Clause:
    return objective.parse(text)[0]


def perfect(count: int, rate: float) -> dict:
    """The summary of a run in which nothing was slow, wrong or lost."""
    found = np.zeros(count, samples.DTYPE)
    found["intended_s"] = found["sent_s"] = found["done_s"] = np.arange(count) / rate
    return statistics.summarise(found, np.ones(count, bool), 0.0, count / rate)


@pytest.mark.parametrize("text", CLAUSES)
def test_so_many_perfect_samples_decide_a_clause_and_one_tenth_less_do_not(text):
    needed = duration.needed(clause(text), 100.0)
    for count, answer in ((needed + 1, objective.MET), (math.floor(0.9 * needed), objective.UNDECIDED)):
        estimate = verdict.subject(clause(text).subject, perfect(count, 100.0))
        assert clause(text).judge(estimate, 100.0) == answer, count


def test_some_claims_no_run_can_decide():
    assert duration.needed(clause("throughput>=1*rate"), 100.0) is None
    assert duration.advice([clause("throughput>=1*rate")], 100.0, 5.0, 60.0).startswith(
        "no run can decide throughput>=1*rate"
    )


def test_accuracy_without_intents_is_said_to_be_undecidable_before_the_run():
    clauses = objective.parse("p95<250ms,accuracy>97%")
    said = duration.advice(clauses, 40.0, 5.0, 600.0, labelled=False)
    assert said == "no run can decide accuracy>97%: the corpus names no intents"
    assert "long enough" in duration.advice(clauses, 40.0, 5.0, 600.0)


def test_the_line_says_what_is_planned_and_what_is_needed():
    clauses = objective.parse("p95<250ms,errors<1%")
    said = duration.advice(clauses, 40.0, 5.0, 60.0)
    assert said == (
        "about 2,200 arrivals are planned; p95<250ms needs at least 72 and errors<1% needs at least 368: "
        "long enough, unless a value is near its limit or answers queue"
    )
    assert duration.advice(clauses, 40.0, 5.0, 0.0).endswith("which takes 14.2 s")


@given(st.floats(0.5, 5_000), st.floats(0, 60), st.sampled_from(["p99<1s", "p99.9<1s", "errors<0.1%"]))
def test_the_run_time_that_it_advises_is_long_enough(rate, warmup_s, text):
    said = duration.advice([clause(text)], rate, warmup_s, warmup_s + 1e-3)
    assert said.startswith("too short to decide the objective: ")
    advised_s = float(said.rpartition("--run-time ")[2].partition("s ")[0])
    assert said.endswith(f" (make: DURATION={advised_s:g}s)")
    assert "long enough" in duration.advice([clause(text)], rate, warmup_s, advised_s)
