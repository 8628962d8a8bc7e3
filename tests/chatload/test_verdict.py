from __future__ import annotations

import re

import numpy as np
import pytest

from chatload import objective, samples, statistics, verdict
from tests.chatload import simulated

RATE = 100.0
LIMITS = objective.parse("p99<100ms,errors<5%")


def summary(count=6_000, latency_s=0.010, lag_s=0.0001, outcome=samples.OK, bad=0) -> dict:
    """Evenly spaced arrivals at RATE whose last ``bad`` ended in ``outcome``; latencies spread 1 % around the given one."""
    spread = np.random.default_rng(1).uniform(0.99, 1.01, count)
    packed = b"".join(
        samples.pack(
            serial / RATE,
            serial / RATE + lag_s,
            serial / RATE + latency_s * spread[serial],
            0,
            0,
            outcome if serial >= count - bad else samples.OK,
            0.1,
            1.0,
            1,
        )
        for serial in range(count)
    )
    return statistics.summarise(samples.from_bytes(packed), np.ones(count, bool), 0.0, count / RATE)


def conduct(**changes) -> verdict.Conduct:
    return verdict.Conduct(**{"expected": 6_000, "poisson": True, **changes})


def judge(found: dict, **changes) -> verdict.Verdict:
    return verdict.judge(found, LIMITS, conduct(**changes), RATE)


def test_a_good_run_passes_and_says_why():
    found = judge(summary())
    assert found.outcome == verdict.PASS
    assert found.reasons[0].startswith("p99<100ms met: p99 is 10.1 ms (95 % interval 10.1 ms to 10.1 ms)")


def test_a_slow_server_fails():
    found = judge(summary(latency_s=0.2))
    assert found.outcome == verdict.FAIL
    assert "p99<100ms missed" in found.reasons[0]


@pytest.mark.parametrize("outcome", [samples.TIMEOUT, samples.RESET, samples.CONNECT, 503])
def test_failures_fail_the_percentile_too(outcome):
    found = judge(summary(outcome=outcome, bad=600))
    assert found.outcome == verdict.FAIL
    assert any("p99 is no answer, beyond doubt" in reason for reason in found.reasons)
    assert any("errors<5% missed" in reason for reason in found.reasons)


def test_a_value_at_its_limit_is_not_guessed():
    found = judge(summary(latency_s=0.09903))
    assert found.outcome == verdict.INVALID
    assert "not decided" in found.reasons[0]
    assert re.search(r"run about [0-9]+ times as long, [0-9]+ min.* after the warm-up$", found.reasons[0])


def test_too_few_samples_do_not_decide():
    found = judge(summary(count=100), expected=100)
    assert found.outcome == verdict.INVALID
    assert found.reasons[0] == (
        "p99<100ms not decided: 100 arrivals are too few; run at least 368, which take 3.68 s after the warm-up"
    )
    # No error in 1,000: the interval shrinks with the number of arrivals, not with its square root.
    few = wanting("errors<0.1%", summary(count=1_000))
    assert "(95 % interval 0 % to 0.368 %)" in few
    assert few.endswith("1,000 arrivals are too few; run at least 3,688, which take 36.9 s after the warm-up")


def wanting(text: str, found: dict) -> str:
    """The reason of an invalid verdict over a single clause."""
    judged = verdict.judge(found, objective.parse(text), conduct(expected=found["planned"]), RATE)
    assert judged.outcome == verdict.INVALID, judged.reasons
    return judged.reasons[0]


def test_what_no_run_decides_is_not_answered_with_a_longer_one():
    unlabelled = summary()
    unlabelled["accuracy"] = {"checked": 0, "correct": 0, "share": statistics.NOT_CARRIED}
    assert wanting("accuracy>97%", unlabelled) == (
        "accuracy>97% not decided: the corpus names no intents, so no run of it can say"
    )
    down = summary(outcome=503, bad=6_000)
    assert wanting("accuracy>97%", down) == "accuracy>97% not decided: nothing was answered"
    assert "claim a percentile" in wanting("mean<1s", summary(outcome=503, bad=60))
    assert "no run can decide it" in wanting("throughput>=1*rate", summary())


def test_an_open_interval_asks_for_ten_times_the_length():
    queue = np.repeat(np.random.default_rng(1).exponential(0.05, 60), 10)  # in clumps: few of them say how far the tail goes
    intended_s = np.arange(600) / RATE
    folded = statistics.summarise(simulated.rows(intended_s, queue), np.ones(600, bool), 0.0, 6.0)
    assert folded["latency_ms"]["p99"].high == float("inf")
    said = wanting("p99<1s", folded)
    assert said.endswith("too little to say how much it takes; run ten times as long, 1 min")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"interrupted": "Ctrl-C"}, "interrupted: Ctrl-C"),
        ({"lost": ("number 1, silent from 3.0 s",)}, "1 worker(s) lost (number 1, silent from 3.0 s)"),
        ({"cpu_share": 0.97}, "a generator process was saturated (97.0 % of a core)"),
        ({"trend": 3.0}, "requests in flight grew 3.0 times"),
        ({"trend": 0.3}, "fell to 30.0 %"),
        ({"settled_s": 12.0}, "the warm-up was too short: latency settled only after 12.0 s"),
        ({"settled_s": 12.0}, "raise --warmup, or lower the rate where that does not help"),
        ({"departs": True}, "the arrivals were not the planned process"),
        ({"expected": 6_400}, "offered 6,000 arrivals where the plan foresaw 6,400"),
        ({"expected": 6_010, "poisson": False}, "give or take 1"),
    ],
)
def test_misconduct_makes_a_run_invalid_however_good_its_numbers(changes, reason):
    found = judge(summary(), **changes)
    assert found.outcome == verdict.INVALID
    assert reason in found.reasons[0]


def test_a_run_that_was_aborted_fails_when_it_missed_its_objective_beyond_doubt():
    found = judge(summary(latency_s=0.2), aborted="p50>150ms: 100 % of 400 arrivals")
    assert found.outcome == verdict.FAIL
    assert found.reasons[0] == "aborted: p50>150ms: 100 % of 400 arrivals"
    assert found.reasons[1].startswith("p99<100ms missed")
    assert found.faults == ()


@pytest.mark.parametrize("latency_s", [0.010, 0.09903], ids=["met", "undecided"])
def test_a_run_that_was_aborted_before_it_missed_its_objective_is_invalid_and_never_passes(latency_s):
    found = judge(summary(latency_s=latency_s), aborted="p50>5ms: 100 % of 400 arrivals")
    assert found.outcome == verdict.INVALID
    assert found.reasons == found.faults
    assert "cut short before it missed its objective beyond doubt" in found.reasons[1]


def test_misconduct_comes_before_an_abort():
    found = judge(summary(latency_s=0.2), aborted="p50>150ms", lost=("number 1",))
    assert found.outcome == verdict.INVALID
    assert [reason.split(":")[0] for reason in found.faults] == ["aborted", "1 worker(s) lost (number 1)"]


@pytest.mark.parametrize(
    ("limit_ms", "outcome"), [(450, verdict.PASS), (350, verdict.FAIL), (401, verdict.INVALID), (399, verdict.INVALID)]
)
def test_a_true_p99_of_400_ms_is_told_from_limits_that_are_not_near_and_guessed_for_none(limit_ms, outcome):
    """The stall law: a twentieth of the arrivals wait evenly up to 0.5 s, so one in a hundred waits 400 ms or more."""
    intended_s = simulated.poisson_s(50, 3_000)
    found = simulated.rows(intended_s, simulated.stalls_s(intended_s))
    folded = statistics.summarise(found, np.ones(len(found), bool), 0.0, 3_000.0)
    judged = verdict.judge(folded, objective.parse(f"p99<{limit_ms}ms"), conduct(expected=len(found)), 50)
    assert judged.outcome == outcome, judged.reasons
    assert judged.faults == ()
    assert ("not decided" in judged.reasons[0]) == (outcome == verdict.INVALID)


@pytest.mark.parametrize(
    ("changes", "overloaded"),
    [({"trend": 3.0}, True), ({"trend": 3.0, "cpu_share": 0.97}, False), ({"trend": 0.3}, False), ({}, False)],
)
def test_a_run_is_overloaded_when_that_the_server_could_not_keep_up_is_its_only_fault(changes, overloaded):
    assert judge(summary(), **changes).overloaded == overloaded


def test_drops_are_overload():
    assert judge(summary(outcome=samples.DROPPED, bad=600)).overloaded


def test_chance_may_move_a_poisson_count():
    assert judge(summary(), expected=6_200).outcome == verdict.PASS


def test_a_late_generator_is_not_the_servers_fault():
    found = judge(summary(latency_s=0.2, lag_s=0.05))
    assert found.outcome == verdict.INVALID
    assert "the generator was late" in found.reasons[0]


@pytest.mark.parametrize("bad", [600, 4_000, 6_000])
def test_an_outage_is_failure_whatever_the_lag_of_its_percentile(bad):
    """A tenth, two thirds, all: the percentile that the failures reach into is infinite, and lag does not matter to it."""
    found = judge(summary(latency_s=0.050, lag_s=0.003, outcome=samples.CONNECT, bad=bad))
    assert found.outcome == verdict.FAIL
    assert any("errors<5% missed" in reason for reason in found.reasons)


def test_lag_below_an_outage_is_still_held():
    found = judge(summary(latency_s=0.010, lag_s=0.003, outcome=samples.CONNECT, bad=120))
    assert found.outcome == verdict.INVALID
    assert "lag p95" in found.reasons[0]


def test_lag_is_measured_against_what_is_claimed():
    assert judge(summary(lag_s=0.0009)).outcome == verdict.PASS  # below the floor of 1 ms
    assert judge(summary(latency_s=0.050, lag_s=0.004)).outcome == verdict.PASS  # below 10 % of p99
    assert judge(summary(latency_s=0.050, lag_s=0.006)).outcome == verdict.INVALID


def test_a_short_run_is_held_to_the_percentile_that_it_carries():
    rows = summary(count=200, lag_s=0.0001)
    rows["lag_ms"]["max"] = statistics.Estimate(5.0, None, None)  # one late arrival in 200 is no late generator
    assert "the generator was late" not in " ".join(judge(rows, expected=200).reasons)
    assert "lag p95" in judge(summary(count=200, lag_s=0.005), expected=200).reasons[0]


def test_a_run_without_arrivals_is_invalid():
    empty = statistics.summarise(np.empty(0, samples.DTYPE), np.empty(0, bool), 0.0, 1.0)
    found = judge(empty, expected=0)
    assert found.outcome == verdict.INVALID
    assert "no arrival fell into the measured window" in found.reasons[0]


def test_every_outcome_has_an_exit_code():
    assert verdict.EXIT_CODES == {"pass": 0, "fail": 1, "invalid": 2}
