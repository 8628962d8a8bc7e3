from __future__ import annotations

import pytest

from chatload import compare_report
from chatload.findings import Finding, Margins
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(0.01234, "0.0123"), (0.5, "0.500"), (1.0342, "1.034"), (4.9, "4.90"), (12.34, "12.3"), (2031, "2,031")],
)
def test_a_ratio_has_three_or_four_digits(ratio, text):
    assert compare_report.format_ratio(ratio) == text


@pytest.mark.parametrize(
    ("metric", "low", "high", "text"),
    [
        ("p99", 1.06, 1.2, "worse by more than 5 %"),
        ("p99", 1.01, 1.2, "worse"),
        ("p99", 1.01, 1.03, "worse, by less than 5 %"),
        ("p99", 0.97, 1.03, "the same within 5 %"),
        ("p99", 0.9, 1.1, "not decided"),
        ("throughput", 1.06, 1.2, "better by more than 5 %"),
        ("errors", 0.011, 0.02, "worse by more than 1 point"),
        ("accuracy", -0.001, 0.001, "the same within 1 point"),
    ],
)
def test_an_answer_says_what_the_interval_says(metric, low, high, text):
    some = Estimate(1, 1, 1)
    finding = Finding(metric, some, some, Estimate((low + high) / 2, low, high))
    assert compare_report.answer(finding, Margins()) == text


def test_what_is_not_carried_is_said_to_be():
    assert compare_report.answer(Finding("p99", NOT_CARRIED, NOT_CARRIED, NOT_CARRIED), Margins()) == (
        "not carried by these samples"
    )
