from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import abort, samples
from tests.chatload.simulated import fail, rows


def reports(
    latency_s: float, failing: float = 0.0, seconds: float = 30.0, per_s: int = 40
) -> list[tuple[np.ndarray, float]]:
    """Four reports a second of arrivals that were done in it, a share of them without an answer."""
    generator = np.random.default_rng(1)
    found = []
    for number in range(round(seconds * 4)):
        intended_s = number / 4 + np.arange(per_s // 4) / per_s
        part = rows(intended_s, np.full(len(intended_s), latency_s))
        found.append((fail(part, generator.random(len(part)) < failing), (number + 1) / 4))
    return found


def first(rule: str, given: list[tuple[np.ndarray, float]], warmup_s: float = 0.0) -> tuple[float, str]:
    """The moment and the reason of the first call for an end; (inf, "") where there is none."""
    watch = abort.Watch(abort.parse(rule), warmup_s)
    seen = [(now_s, watch.see(part, now_s)) for part, now_s in given]
    return next(((now_s, reason) for now_s, reason in seen if reason), (float("inf"), ""))


def test_the_grammar_is_the_objectives_turned_round():
    rule = abort.parse("errors>50%, p99.9>=5s for 1m")
    assert [clause.text for clause in rule.clauses] == ["errors>50%", "p99.9>=5s"]
    assert [clause.limit for clause in rule.clauses] == [0.5, 5_000]
    assert rule.window_s == 60
    assert abort.parse("p50>1s").window_s == abort.DEFAULT_WINDOW_S


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("errors<50%", "'errors<50%': errors is bad when above (>) its limit"),
        ("p99>2", "'2' has no unit: write 2ms or 2s"),
        ("accuracy<90%", "'accuracy<90%': accuracy is not watched: choose one of p50, p90"),
        ("p99>2s for ever", "'ever' is not a duration"),
        ("p99>2s for 0s", "give it some time to look at"),
        ("for 10s", "is not a clause"),
        ("", "it is empty: write for example p99>2s,errors>50%"),
        ("soon", "'soon' is not a clause: write for example p99>2s,errors>50%"),
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(text, message):
    with pytest.raises(abort.AbortError) as caught:
        abort.parse(text)
    assert message in str(caught.value)


def test_it_waits_for_the_warm_up_and_one_window():
    now_s, reason = first("errors>50% for 10s", reports(0.01, failing=0.9), warmup_s=5)
    assert now_s == 15
    assert reason.startswith("errors>50%: ")
    assert reason.endswith("of 400 arrivals in 10 s were not answered")


def test_what_came_in_the_warm_up_is_not_held_against_the_run():
    early, late = reports(0.01, failing=0.9, seconds=8), reports(0.01)
    assert first("errors>50% for 4s", early + late[32:], warmup_s=8) == (float("inf"), "")
    assert first("errors>50% for 4s", early + late[32:])[0] == 4


def test_a_percentile_is_above_its_limit_when_too_many_samples_are():
    assert first("p99>2s for 5s", reports(2.5))[0] == 5
    assert first("p99>2s for 5s", reports(1.9)) == (float("inf"), "")
    assert "took longer or were not answered" in first("p50>2s for 5s", reports(0.01, failing=0.8))[1]


def test_a_good_run_and_a_run_without_answers_go_on():
    assert first("errors>50%,p50>5s", reports(0.01)) == (float("inf"), "")
    nothing = np.empty(0, samples.DTYPE)
    assert first("errors>50%,p50>5s", [(nothing, second / 4) for second in range(100)]) == (float("inf"), "")


@given(st.integers(1, 2_000), st.floats(0, 0.6))
def test_a_share_that_chance_could_explain_ends_nothing(count, share):
    """Half of the arrivals may fail: with few of them, more than half have to before it is beyond doubt."""
    part = rows(np.linspace(1, 2, count), np.zeros(count))
    failed = round(share * count)
    reason = abort.Watch(abort.parse("errors>50% for 1s"), 0.0).see(fail(part, np.arange(count) < failed), 2.0)
    if reason:
        assert failed / count > 0.5
        assert (failed / count - 0.5) / (0.5 / count**0.5) > 1.5  # standard deviations
    if share <= 0.5:
        assert not reason
