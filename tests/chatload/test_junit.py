"""junit.xml, read by a parser that other tools use."""

from __future__ import annotations

import junitparser
import pytest

from chatload import junit

RUN = {"scenario": "lunch <time>", "duration_s": 55.0}
MET = {"clause": "errors<1%", "answer": "met", "reason": "errors<1% met: errors is 0 %"}
MISSED = {"clause": "p99<100ms", "answer": "missed", "reason": 'p99<100ms missed: p99 is "402" ms & more \x00'}
UNDECIDED = {"clause": "p99.9<1s", "answer": "undecided", "reason": "p99.9<1s not decided: run longer"}


def read(outcome: str, *objective: dict, faults: tuple[str, ...] = ()) -> list[junitparser.JUnitXml]:
    verdict = {"outcome": outcome, "reasons": [], "faults": list(faults), "objective": list(objective)}
    text = junit.xml({"run": RUN, "verdict": verdict})
    return junitparser.JUnitXml.fromstring(text.encode())


def kinds(found: junitparser.JUnitXml) -> dict[str, list[str]]:
    return {case.name: [type(result).__name__ for result in case.result] for suite in found for case in suite}


def test_a_pass_has_one_good_case_for_validity_and_one_for_each_clause():
    found = read("pass", MET)
    assert kinds(found) == {"the run is valid": [], "errors<1%": []}
    assert (found.tests, found.failures, found.errors) == (2, 0, 0)
    (suite,) = found
    assert (suite.name, suite.time) == ("chatload lunch <time>", 55)


def test_a_missed_clause_is_a_failure_and_says_why():
    found = read("fail", MISSED, MET)
    assert kinds(found) == {"the run is valid": [], "p99<100ms": ["Failure"], "errors<1%": []}
    (result,) = next(case for suite in found for case in suite if case.result).result
    assert result.message == 'p99<100ms missed: p99 is "402" ms & more \ufffd'
    assert (found.failures, found.errors) == (1, 0)


def test_a_clause_that_is_not_decided_is_an_error_not_a_pass():
    found = read("invalid", UNDECIDED, MET)
    assert kinds(found) == {"the run is valid": [], "p99.9<1s": ["Error"], "errors<1%": []}


def test_an_invalid_run_passes_nothing():
    found = read("invalid", MET, MISSED, faults=("the generator was late",))
    assert kinds(found) == {"the run is valid": ["Error"], "errors<1%": ["Error"], "p99<100ms": ["Error"]}
    assert (found.tests, found.failures, found.errors) == (3, 0, 3)


def test_an_answer_that_is_not_known_is_no_pass():
    with pytest.raises(KeyError):
        read("pass", {"clause": "p50<1s", "answer": "perhaps", "reason": ""})
