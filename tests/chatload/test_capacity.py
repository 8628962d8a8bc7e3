from __future__ import annotations

import math
import re
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import capacity as simulated
from chatload import capacity, objective, verdict
from chatload.capacity import End, Plan, Probe, Step
from chatload.objective import Estimate

CLAUSES = objective.parse("p99<100ms,errors<1%")
PLAN = Plan(CLAUSES, lowest_rate=20.0, probe_s=60.0)


def probe(rate: float, p99_ms: float | None, answer: str = capacity.PASS, samples: int = 10_000, **more: object) -> Probe:
    estimate = Estimate(None, None, None) if p99_ms is None else Estimate(p99_ms, p99_ms * 0.9, p99_ms * 1.2)
    rates = Estimate(rate, rate, rate)
    return replace(Probe(rate, answer, capacity.BRACKET, {"p99": estimate}, samples, 60.0, rates, rate), **more)


# --- against queues whose capacity theory gives -------------------------------------------------------------------


@pytest.mark.parametrize("queue", [simulated.mm1(0.002), simulated.md1(0.002)], ids=["M/M/1", "M/D/1"])
def test_nineteen_of_twenty_searches_come_within_three_percent_of_theory(queue):
    plan = Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=60.0)
    found = [simulated.search(queue, plan, seed) for seed in range(20)]
    truth = queue.capacity(0.1, 0.99)
    near = [end for _, end in found if end.answer is not None and abs(end.answer.rate / truth - 1) <= 0.03]
    assert len(near) >= 19
    assert max(len(probes) for probes, _ in found) <= 12
    assert all(probes[-1].purpose == capacity.CONFIRM for probes, _ in found)


def test_a_search_whose_last_probe_missed_says_that_its_answer_is_not_confirmed():
    plan = Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=60.0, most_probes=4)
    history = [probe(100.0, 40.0), probe(150.0, 70.0), probe(200.0, 130.0, capacity.FAIL)]
    for answer, said in ((capacity.FAIL, True), (capacity.PASS, False), (capacity.UNDECIDED, False)):
        end = capacity.decide([*history, probe(175.0, 110.0, answer, purpose=capacity.CONFIRM)], plan)
        assert isinstance(end, End)
        assert end.reason.startswith("not confirmed, the last probe missed it at 175/s; as near as 4 probes") == said
        assert "as near as 4 probes come" in end.reason


def test_a_search_that_ran_out_of_probes_says_how_long_they_should_have_been():
    plan = Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=60.0)
    _, short = simulated.search(simulated.mm1(0.01), plan, 1)
    assert short.answer is not None
    said = re.fullmatch(r"as near as 12 probes come: for 3 % they need some (\d+) s each \(--probe-time\)", short.reason)
    assert said is not None, short.reason
    assert int(said[1]) == pytest.approx(60 * (short.answer.precision / 0.03) ** 2, abs=10)
    _, longer = simulated.search(simulated.mm1(0.01), replace(plan, probe_s=float(said[1])), 2)
    assert longer.answer is not None
    assert longer.answer.precision < short.answer.precision


def test_a_cliff_is_bisected():
    """A server that answers in 20 ms up to 700/s and refuses half of what comes beyond: there is no curve to follow."""
    probes: list[Probe] = []
    while isinstance(step := capacity.decide(probes, PLAN), Step):
        refusing = step.rate > 700
        failing = {"answer": capacity.FAIL, "missed": ("p99", "errors")} if refusing else {}
        probes.append(replace(probe(step.rate, 20.0), purpose=step.purpose, **failing))
        if refusing:
            probes[-1] = replace(probes[-1], latency_ms={"p99": Estimate(math.inf, math.inf, math.inf)})
    assert step.outcome == capacity.FOUND
    assert step.answer is not None
    assert step.answer.low == step.answer.rate <= 700 < step.answer.high
    assert step.answer.precision <= 0.03
    assert len(probes) <= 12


@pytest.mark.parametrize("bad", [0, 1])
def test_one_bad_minute_of_the_machine_is_no_capacity(bad):
    """A probe of a few hundred requests a minute that met a bad stretch was taken for the limit; answers lay far below."""
    plan = Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=60.0)
    queue = simulated.md1(0.005)
    found = [simulated.search(queue, plan, seed, bad) for seed in range(10)]
    truth = queue.capacity(0.1, 0.99)
    assert all(probes[bad].answer == capacity.UNDECIDED and probes[bad].rate < truth / 2 for probes, _ in found)
    assert sum(end.answer is not None and abs(end.answer.rate / truth - 1) <= 0.05 for _, end in found) >= 9


# --- where a search goes -------------------------------------------------------------------------------------------


def test_it_starts_at_the_lowest_rate_for_as_long_as_the_clauses_need():
    assert capacity.decide([], PLAN) == Step(20.0, 60.0, capacity.BRACKET)
    slow = capacity.decide([], replace(PLAN, lowest_rate=2.0))
    assert isinstance(slow, Step)
    assert slow.most_s == pytest.approx(368 * 1.1 / 2, rel=0.01)  # p99 needs 368 samples


def test_only_the_last_probe_is_as_long_as_rare_errors_need():
    """errors<0.1% takes 3,688 samples without one: three minutes at the lowest rate, seven seconds at the answer."""
    strict = replace(PLAN, clauses=objective.parse("p99<100ms,errors<0.1%"), probe_s=5.0, precision=0.2)
    first = capacity.decide([], strict)
    near = [probe(rate, 1e3 / (60 - rate / 10), samples=10**7) for rate in (300, 400, 480)]
    last = capacity.decide([*near, probe(520, 1e3 / 8, capacity.FAIL, 10**7, missed=("p99",))], strict)
    assert isinstance(first, Step)
    assert isinstance(last, Step)
    assert first.most_s == pytest.approx(368 * 1.1 / 20, rel=0.01)
    assert last.purpose == capacity.CONFIRM
    assert last.rate == pytest.approx(500, rel=0.05)
    assert last.most_s == pytest.approx(3_688 * 1.1 / last.rate, rel=0.01)


@pytest.mark.parametrize(
    ("answers", "faults", "decided"),
    [
        (("met", "undecided"), [], True),
        (("not decided yet", "met"), [], False),
        (("missed", "undecided"), ["not in steady state"], True),
        (("met", "missed"), [], True),
        (("met", "met"), ["not in steady state"], False),
    ],
)
def test_a_probe_is_decided_when_a_clause_is_missed_or_all_latencies_are_met(answers, faults, decided):
    judged = {"objective": [{"answer": answer} for answer in answers], "faults": faults}
    assert capacity.is_decided(judged, CLAUSES) == decided


def test_it_rises_in_large_steps_while_latency_is_far_from_the_limit():
    first = capacity.decide([probe(20, 5.0)], PLAN)
    assert isinstance(first, Step)
    assert (first.rate, first.purpose) == (80.0, capacity.BRACKET)


def test_near_the_limit_it_goes_a_little_beyond_where_the_curve_points():
    step = capacity.decide([probe(100, 1e3 / 30), probe(200, 1e3 / 20)], PLAN)  # reciprocals fall to 10/s at 300/s
    assert isinstance(step, Step)
    assert step.rate == pytest.approx(315)


def test_between_a_pass_and_a_distant_failure_it_takes_the_geometric_mean():
    step = capacity.decide([probe(20, 5.0), probe(80, 5.5), probe(320, 4_000.0, capacity.FAIL, missed=("p99",))], PLAN)
    assert isinstance(step, Step)
    assert step.rate == pytest.approx(160)
    assert step.purpose == capacity.NARROW


@pytest.mark.parametrize(
    ("again", "rate", "purpose"),
    [
        ([], 100.0, capacity.NARROW),  # made again
        ([probe(100, 150.0, capacity.UNDECIDED)], 95.0, capacity.CONFIRM),  # seen twice: it stands
        ([probe(100, 20.0)], 150.0, capacity.BRACKET),  # it was a bad stretch: on, in small steps
    ],
    ids=["once", "twice", "not again"],
)
def test_a_narrow_bracket_never_hangs_on_one_undecided_probe(again, rate, purpose):
    seen = [probe(100, 150.0, capacity.UNDECIDED), probe(90, 20.0), probe(95, 19.0)]
    step = capacity.decide([*seen, *again], replace(PLAN, precision=0.06))
    assert isinstance(step, Step)
    assert (step.rate, step.purpose) == (pytest.approx(rate), purpose)


def test_a_miss_beyond_doubt_is_not_made_again():
    seen = [probe(90, 20.0), probe(100, 150.0, capacity.FAIL, missed=("p99",)), probe(95, 19.0)]
    step = capacity.decide(seen, replace(PLAN, precision=0.06))
    assert isinstance(step, Step)
    assert step.purpose == capacity.CONFIRM
    assert 95 <= step.rate < 100


@pytest.mark.parametrize(
    ("again", "rate", "purpose"),
    [
        ([], 95.0, capacity.CONFIRM),  # one of two is no confirmation: made again
        ([600.0], math.sqrt(90 * 95), capacity.NARROW),  # two of three were bad: the limit is below
        ([21.0], None, None),  # one of three was bad: confirmed
    ],
    ids=["bad", "bad, bad", "bad, good"],
)
def test_a_last_probe_over_the_objective_confirms_nothing(again, rate, purpose):
    """It had: an answer called confirmed at a rate whose last probe was given up with p99 at six times the limit."""
    seen = [probe(90, 20.0), probe(95, 19.0), probe(97, 600.0, capacity.FAIL, missed=("p99",))]
    last = [
        probe(95, ms, capacity.UNDECIDED if ms > 100 else capacity.PASS, purpose=capacity.CONFIRM) for ms in (600.0, *again)
    ]
    decided = capacity.decide([*seen, *last], replace(PLAN, precision=0.03))
    if rate is None:
        assert isinstance(decided, End)
        assert (decided.outcome, decided.reason) == (capacity.FOUND, "confirmed at 95/s")
    else:
        assert isinstance(decided, Step)
        assert (decided.rate, decided.purpose) == (pytest.approx(rate), purpose)


@given(st.lists(st.tuples(st.floats(1, 10_000), st.floats(0.1, 10_000), st.integers(1, 10**6)), min_size=1, max_size=11))
def test_whatever_was_seen_the_next_rate_is_one_that_can_be_run(seen):
    """Above zero, finite, and never more than four times the highest so far."""
    answers = [
        capacity.PASS if ms * 1.2 < 100 else capacity.FAIL if ms * 0.9 >= 100 else capacity.UNDECIDED for _, ms, _ in seen
    ]
    missed = [("p99",) if answer == capacity.FAIL else () for answer in answers]
    probes = [probe(r, ms, a, n, missed=m) for (r, ms, n), a, m in zip(seen, answers, missed, strict=True)]
    decided = capacity.decide(probes, PLAN)
    if isinstance(decided, Step):
        assert 0 < decided.rate <= 4 * max(rate for rate, _, _ in seen)
        assert math.isfinite(decided.most_s)
    else:
        assert (decided.outcome == capacity.FOUND) == (decided.answer is not None)


# --- where it ends -------------------------------------------------------------------------------------------------


def test_a_server_that_misses_the_objective_at_the_lowest_rate_has_no_capacity():
    end = capacity.decide([probe(20, 300.0, capacity.FAIL, missed=("p99",), why="p99<100ms missed: ...")], PLAN)
    assert end == End(capacity.NONE, "the objective is missed at the lowest rate, 20/s: p99<100ms missed: ...", None)


def test_a_generator_at_its_limit_is_not_a_capacity():
    end = capacity.decide([probe(20, 5.0), probe(80, 6.0, capacity.INVALID, why="the generator was late")], PLAN)
    assert isinstance(end, End)
    assert end.outcome == capacity.UNDECIDED
    assert end.reason == "at 80/s the generator was the limit, not the server: the generator was late"


def test_too_few_samples_at_the_lowest_rate_end_it():
    end = capacity.decide([probe(20, None, capacity.UNDECIDED, why="p99<100ms not decided")], PLAN)
    assert isinstance(end, End)
    assert end.outcome == capacity.UNDECIDED


def test_an_interval_that_stays_wide_is_no_answer():
    probes = [probe(20, 5.0)] + [probe(8_000.0, 900.0, capacity.FAIL, missed=("p99",))] * 11
    end = capacity.decide(probes, PLAN)
    assert isinstance(end, End)
    assert (end.outcome, end.answer) == (capacity.UNDECIDED, None)


def test_an_objective_without_a_latency_bounds_no_rate():
    with pytest.raises(capacity.CapacityError, match="the objective has no latency"):
        capacity.latency_clauses(objective.parse("errors<1%"))


# --- reading a probe ------------------------------------------------------------------------------------------------


def content(
    outcome: str, answers: tuple[str, str], p99: dict, faults: tuple[str, ...] = (), lag_ms: float = 0.1, **conduct: object
) -> dict:
    """As much of a run.json as a probe is read from."""
    happened = verdict.Conduct(expected=1_000, poisson=True, **conduct)
    throughput = {"value": 99.0, "low": 98.0, "high": 100.0}
    objective_json = [{"clause": c.text, "answer": a, "reason": ""} for c, a in zip(CLAUSES, answers, strict=True)]
    return {
        "run": {"duration_s": 10.0, "conduct": asdict(happened)},
        "summary": {
            "lag_ms": {"p99": {"value": lag_ms}},
            "latency_ms": {"p99": p99},
            "planned": 1_000,
            "throughput": throughput,
            "offered_rate": 100.0,
        },
        "verdict": {"outcome": outcome, "reasons": ["so"], "faults": list(faults), "objective": objective_json},
    }


STEP = Step(100.0, 10.0, capacity.NARROW)
FAST, SLOW = {"value": 50.0, "low": 40.0, "high": 60.0}, {"value": 900.0, "low": 400.0, "high": None}
ENDLESS = {"value": None, "low": None, "high": None}


def read(*arguments: object, **conduct: object) -> Probe:
    return capacity.probe(content(*arguments, **conduct), STEP, CLAUSES)


def test_a_run_that_passed_is_read_as_it_is():
    found = read("pass", ("met", "met"), FAST)
    assert (found.answer, found.rate, found.samples, found.purpose) == (capacity.PASS, 100.0, 1_000, capacity.NARROW)
    assert found.latency_ms == {"p99": Estimate(50.0, 40.0, 60.0)}


def test_a_server_that_cannot_keep_up_fails_though_its_run_is_invalid():
    growing = verdict._overload_faults(verdict.Conduct(expected=1, poisson=True, trend=4.0))
    found = read("invalid", ("missed", "met"), SLOW, tuple(growing), trend=4.0)
    assert (found.answer, found.missed) == (capacity.FAIL, ("p99",))
    assert found.latency_ms["p99"] == Estimate(900.0, 400.0, math.inf)
    assert read("invalid", ("met", "met"), FAST, tuple(growing), trend=4.0).answer == capacity.UNDECIDED


def test_an_aborted_probe_is_undecided_unless_it_missed():
    faults = ("aborted: p50>200ms", verdict._CUT_SHORT)
    assert read("invalid", ("undecided", "met"), FAST, faults, aborted="p50>200ms").answer == capacity.UNDECIDED
    assert read("fail", ("missed", "met"), SLOW, (), aborted="p50>200ms").answer == capacity.FAIL


LATE = f"{verdict.LATE}: ..."


def test_a_fault_of_the_generator_makes_a_probe_invalid_whatever_the_latency():
    assert read("invalid", ("missed", "met"), SLOW, ("1 worker(s) lost",)).answer == capacity.INVALID
    assert read("invalid", ("missed", "met"), SLOW, (LATE,), lag_ms=11.0).answer == capacity.INVALID


def test_a_lag_below_a_tenth_of_the_limit_cannot_make_a_slow_server_look_fast():
    assert read("invalid", ("met", "met"), FAST, (LATE,), lag_ms=9.0).answer == capacity.PASS
    assert read("invalid", ("missed", "met"), SLOW, (LATE,), lag_ms=9.0).answer == capacity.FAIL
    assert read("invalid", ("met", "undecided"), FAST, (LATE,), lag_ms=9.0).answer == capacity.UNDECIDED


def test_failures_that_reach_into_the_percentile_are_infinite_and_too_few_samples_unknown():
    assert read("fail", ("missed", "missed"), ENDLESS).latency_ms["p99"] == Estimate(math.inf, math.inf, math.inf)
    assert read("invalid", ("undecided", "undecided"), ENDLESS).latency_ms["p99"] == Estimate(None, None, None)
    bounded = read("invalid", ("undecided", "met"), {"value": None, "low": 69.0, "high": None}).latency_ms["p99"]
    assert bounded == Estimate(math.inf, 69.0, math.inf)  # an aborted probe's, of which more than 1 % went unanswered
