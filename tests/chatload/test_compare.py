"""Comparisons of made-up samples: what is called, what is refused, and how often that is wrong."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from chatload import compare, compare_report, findings
from chatload.compare import Samples, Side
from chatload.findings import BETTER, SAME, UNDECIDED, WORSE, Finding, Margins
from chatload.objective import Estimate
from chatload.statistics import NOT_CARRIED

MARGINS = Margins()
CONDITIONS = {"measured": "a served run", "model": "minilm", "rate": "100/s"}
NOTHING = np.empty(0, bool)


def chance(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def samples(latency_ms: np.ndarray, correct: np.ndarray = NOTHING) -> Samples:
    moments_s = np.arange(len(latency_ms)) / 100
    return Samples(latency_ms, moments_s[np.isfinite(latency_ms)], len(latency_ms) / 100, correct)


def side(*runs: Samples, name: str = "made up", conditions: dict | None = None, faults: tuple[str, ...] = ()) -> Side:
    return Side(name, "", CONDITIONS | (conditions or {}), runs, faults=faults)


def independent(count: int, generator: np.random.Generator) -> np.ndarray:
    return generator.lognormal(3, 0.3, count)


def correlated(count: int, generator: np.random.Generator) -> np.ndarray:
    noise = lfilter([1], [1, -0.95], generator.normal(size=count + 1_000))[1_000:] * math.sqrt(1 - 0.95**2)
    return np.exp(3 + 0.3 * noise)


def queue(count: int, generator: np.random.Generator) -> np.ndarray:
    """Latencies of an M/M/1 queue at 70 %, by Lindley's recursion."""
    service = generator.exponential(1, count + 5_000)
    steps = np.concatenate([[0], np.cumsum(service[:-1] - generator.exponential(1 / 0.7, count + 4_999))])
    return (steps - np.minimum.accumulate(steps) + service)[5_000:]


def single(a: np.ndarray, b: np.ndarray, metrics: tuple[str, ...]) -> list[Finding]:
    return compare.compare(side(samples(a)), side(samples(b)), metrics, compare.confidence_of_each(len(metrics)))


@pytest.mark.parametrize("process", [independent, correlated, queue])
def test_a_server_compared_with_itself_differs_in_at_most_5_of_100_comparisons(process):
    generator = chance(11)
    pairs = [(process(5_000, generator), process(5_000, generator)) for _ in range(100)]
    called = [any(finding.real for finding in single(a, b, ("p50", "p90", "p99"))) for a, b in pairs]
    assert sum(called) <= 5


def test_bursts_of_arrivals_are_no_difference_of_throughput_and_a_slower_server_is():
    """Gamma gaps of cv 3 make counts nine times as uncertain as a Poisson process does."""
    generator, called, missed = chance(16), 0, 0
    shape = 1 / 9
    for _ in range(400):
        a, b, half = (np.cumsum(generator.gamma(shape, 0.02 / shape, 8_000)) for _ in range(3))
        runs = [Samples(NOTHING, moments[moments < 100], 100.0, NOTHING) for moments in (a, b, half[::2])]
        found = [compare.compare(side(runs[0]), side(run), ("throughput",), 0.95)[0] for run in runs[1:]]
        called += bool(found[0].real)
        missed += found[1].real != WORSE
    assert called <= 20
    assert missed <= 20


@pytest.mark.parametrize("count", [6_000, 200_000])
def test_one_outage_that_only_one_run_saw_is_no_difference_of_servers(count):
    generator = chance(17)
    fine, struck = (samples(independent(count, generator)) for _ in "ab")
    struck.latency_ms[count // 2 : count // 2 + count // 50] = math.inf
    found = compare.compare(side(fine), side(struck), ("errors", "p99", "throughput"), compare.confidence_of_each(3))
    assert [finding.real for finding in found] == ["", "", ""]
    often = samples(np.where(np.arange(count) % 50 == 0, math.inf, independent(count, generator)))
    assert compare.compare(side(fine), side(often), ("errors",), 0.95)[0].real == WORSE


@pytest.mark.parametrize(("process", "pilot"), [(independent, 20_000), (correlated, 60_000)])
def test_a_shift_of_5_percent_is_found_with_the_samples_that_were_asked_for(process, pilot):
    generator, found = chance(12), []
    for _ in range(20):
        a, b = samples(process(pilot, generator)), samples(1.05 * process(pilot, generator))
        (finding,) = compare.compare(side(a), side(b), ("p99",), 0.95)
        needed = findings.needed_samples(finding, (pilot, pilot), MARGINS, 0.95)
        (again,) = single(process(needed, generator), 1.05 * process(needed, generator), ("p99",))
        found.append(again.real == WORSE)
    assert sum(found) >= 16


def test_repeated_runs_hold_what_differs_from_run_to_run():
    """Whole runs differ by 5 %: two long single runs call that a difference of servers, repeated runs do not."""
    generator = chance(13)
    single_called, repeated_called = 0, 0
    for _ in range(40):
        a, b = (
            [samples(factor * independent(5_000, generator)) for factor in np.exp(generator.normal(0, 0.05, 5))]
            for _ in "ab"
        )
        single_called += any(f.real for f in compare.compare(side(a[0]), side(b[0]), ("p50",), 0.95))
        repeated_called += any(f.real for f in compare.compare(side(*a), side(*b), ("p50",), 0.95))
    assert single_called > 20
    assert repeated_called <= 5


def test_the_rounds_asked_for_find_the_shift():
    generator, found = chance(14), []

    def runs(count: int, shift: float) -> Side:
        return side(
            *[samples(shift * math.exp(generator.normal(0, 0.03)) * independent(2_000, generator)) for _ in range(count)]
        )

    for _ in range(20):
        (finding,) = compare.compare(runs(5, 1.0), runs(5, 1.05), ("p50",), 0.95)
        needed = findings.needed_rounds(finding, 5, MARGINS, 0.95)
        (again,) = compare.compare(runs(max(needed, 5), 1.0), runs(max(needed, 5), 1.05), ("p50",), 0.95)
        found.append(again.real == WORSE)
    assert sum(found) >= 16


def test_too_few_samples_to_bound_the_tail_ask_for_no_number():
    generator = chance(15)
    a, b = samples(queue(2_000, generator)), samples(queue(2_000, generator))
    (finding,) = compare.compare(side(a), side(b), ("p99",), 0.95)
    assert finding.change.high == math.inf or finding.change.low == 0
    assert findings.needed_samples(finding, (2_000, 2_000), MARGINS, 0.95) is None


def finding(metric: str, low: float, high: float) -> Finding:
    some = Estimate(1, 1, 1)
    return Finding(metric, some, some, Estimate((low + high) / 2, low, high))


@pytest.mark.parametrize(
    ("metric", "low", "high", "real", "within", "gate"),
    [
        ("p99", 1.06, 1.20, WORSE, WORSE, WORSE),
        ("p99", 1.01, 1.20, WORSE, UNDECIDED, UNDECIDED),
        ("p99", 1.01, 1.03, WORSE, SAME, SAME),
        ("p99", 0.97, 1.03, "", SAME, SAME),
        ("p99", 0.90, 1.03, "", UNDECIDED, SAME),
        ("p99", 0.90, 1.10, "", UNDECIDED, UNDECIDED),
        ("p99", 0.80, 0.90, BETTER, BETTER, SAME),
        ("throughput", 0.80, 0.90, WORSE, WORSE, WORSE),
        ("throughput", 1.06, 1.20, BETTER, BETTER, SAME),
        ("errors", 0.02, 0.03, WORSE, WORSE, WORSE),
        ("errors", -0.001, 0.001, "", SAME, SAME),
        ("accuracy", -0.03, -0.02, WORSE, WORSE, WORSE),
        ("accuracy", 0.02, 0.03, BETTER, BETTER, SAME),
    ],
)
def test_an_interval_says_what_is_real_and_what_passes_a_gate(metric, low, high, real, within, gate):
    found = finding(metric, low, high)
    assert (found.real, found.within(MARGINS), found.gate(MARGINS)) == (real, within, gate)


def test_a_gate_fails_on_any_metric_and_passes_only_on_all():
    worse, fine, open_ = finding("p99", 1.1, 1.2), finding("p50", 0.99, 1.01), finding("p90", 0.9, 1.1)
    assert findings.gate([fine, open_, worse], MARGINS) == WORSE
    assert findings.gate([fine, open_], MARGINS) == UNDECIDED
    assert findings.gate([fine, fine], MARGINS) == SAME


def test_what_is_not_carried_passes_no_gate():
    unknown = Finding("p99", NOT_CARRIED, NOT_CARRIED, NOT_CARRIED)
    assert (unknown.real, unknown.gate(MARGINS)) == ("", UNDECIDED)
    assert single(np.ones(100), np.ones(100), ("p99",))[0].change == NOT_CARRIED


def test_failures_make_the_tail_worse_and_never_faster():
    latency = independent(20_000, chance())
    failing = np.where(np.arange(20_000) % 20 == 0, np.inf, latency / 2)
    p50, p99, errors = single(latency, failing, ("p50", "p99", "errors"))
    assert (p50.real, p99.real, errors.real) == (BETTER, WORSE, WORSE)
    assert errors.change.value == pytest.approx(0.05)


def test_accuracy_is_compared_in_points():
    generator = chance()
    latency = independent(4_000, generator)
    sides = [side(samples(latency, generator.random(4_000) < share)) for share in (0.97, 0.92)]
    (found,) = compare.compare(*sides, ("accuracy",), 0.95)
    assert found.change.value == pytest.approx(-0.05, abs=0.01)
    assert found.gate(MARGINS) == WORSE


def test_rounds_without_an_error_do_not_prove_that_there_are_none():
    runs = [samples(independent(200, chance(seed))) for seed in range(4)]
    (found,) = compare.compare(side(*runs), side(*runs), ("errors",), 0.95)
    assert found.change.value == 0
    assert found.change.low < 0 < found.change.high


def test_rounds_with_the_same_utterances_place_accuracy_to_an_answer():
    answers = [chance(seed).random(1_000) < 0.95 for seed in range(4)]
    same = side(*[samples(np.ones(1_000), correct) for correct in answers])
    (found,) = compare.compare(same, same, ("accuracy",), 0.95)
    assert (found.change.low, found.change.high) == (pytest.approx(-0.001), pytest.approx(0.001))
    worse = side(*[samples(np.ones(1_000), correct & (np.arange(1_000) % 20 > 0)) for correct in answers])
    assert compare.compare(same, worse, ("accuracy",), 0.95)[0].gate(MARGINS) == WORSE


def failing(share: float, seed: int) -> Samples:
    latency = independent(2_000, chance(seed))
    return samples(np.where(chance(seed + 100).random(2_000) < share, np.inf, latency))


def test_failing_in_every_round_is_worse_and_failing_in_one_is_not_decided():
    fine = side(*[failing(0, seed) for seed in range(4)])
    every = side(*[failing(0.05, seed) for seed in range(10, 14)])
    one = side(failing(0.2, 20), *[failing(0, seed) for seed in range(21, 24)])
    assert compare.compare(fine, every, ("p99",), 0.95)[0].gate(MARGINS) == WORSE
    assert compare.compare(every, fine, ("p99",), 0.95)[0].gate(MARGINS) == SAME
    assert compare.compare(fine, one, ("p99",), 0.95)[0].gate(MARGINS) == UNDECIDED


def test_a_side_that_serves_nothing_in_any_round_is_worse_and_in_one_round_is_not_decided():
    fine = side(*[failing(0, seed) for seed in range(4)])
    dead = side(*[failing(1, seed) for seed in range(4)])
    some = side(failing(1, 0), *[failing(0, seed) for seed in range(4, 7)])
    usual = ("throughput", "p50", "p99", "errors")
    assert [found.gate(MARGINS) for found in compare.compare(fine, dead, usual, 0.95)] == [WORSE] * 4
    assert [found.gate(MARGINS) for found in compare.compare(dead, fine, usual, 0.95)] == [SAME] * 4
    assert [found.gate(MARGINS) for found in compare.compare(fine, some, usual, 0.95)] == [UNDECIDED] * 4
    assert [found.gate(MARGINS) for found in compare.compare(dead, dead, usual[:3], 0.95)] == [UNDECIDED] * 3
    said = compare_report.text(compare.against_first([fine, dead]), MARGINS, gated=True)
    assert "gate  FAIL" in said


def test_two_rounds_that_fail_by_chance_do_not_condemn_a_server():
    """With 1 % of failures p99 is infinite in every other round, so in both rounds of one side and none of the other too."""
    called = 0
    for seed in range(0, 400, 4):
        a, b = side(failing(0.01, seed), failing(0.01, seed + 1)), side(failing(0.01, seed + 2), failing(0.01, seed + 3))
        called += bool(compare.compare(a, b, ("p99",), 0.95)[0].real)
    assert called <= 5


def test_what_differs_is_named_and_refused_unless_told():
    latency = independent(2_000, chance())
    a, b = side(samples(latency), name="a"), side(samples(latency), name="b", conditions={"rate": "200/s", "model": "other"})
    with pytest.raises(
        compare.CompareError, match=r"a and b cannot be compared: model: minilm against other; rate: 100/s against"
    ):
        compare.against_first([a, b], ["p50"])
    (told,) = compare.against_first([a, b], ["p50"], anyway=True)
    assert told.reservations == ("model: minilm against other", "rate: 100/s against 200/s")


def test_an_invalid_run_is_refused_unless_told():
    latency = independent(2_000, chance())
    a, b = side(samples(latency), name="a"), side(samples(latency), name="b", faults=("the generator was late",))
    with pytest.raises(compare.CompareError, match="b is invalid: the generator was late"):
        compare.against_first([a, b], ["p50"])
    assert compare.against_first([a, b], ["p50"], anyway=True)[0].reservations == ("b is invalid: the generator was late",)


def test_different_numbers_of_runs_are_refused():
    one, two = side(samples(np.ones(10))), side(samples(np.ones(10)), samples(np.ones(10)))
    with pytest.raises(compare.CompareError, match="compare equal numbers of runs"):
        compare.against_first([one, two], ["p50"], anyway=True)


def test_more_sides_share_the_error_rate():
    sides = [side(samples(independent(2_000, chance(seed)))) for seed in range(4)]
    comparisons = compare.against_first(sides, ["p50", "p90"])
    assert [comparison.confidence for comparison in comparisons] == [pytest.approx(1 - 0.05 / 6)] * 3


def test_a_metric_that_was_asked_for_is_compared_or_refused_and_a_usual_one_is_left_out_by_name():
    generator = chance()
    checked, unchecked = (
        side(samples(np.ones(400), flags), name=str(len(flags))) for flags in (np.ones(400, bool), NOTHING)
    )
    with pytest.raises(
        compare.CompareError, match=r"0 has no accuracy \(none of its answers was checked\): leave it out of"
    ):
        compare.against_first([checked, unchecked], ["p50", "accuracy"])
    (comparison,) = compare.against_first([checked, unchecked])
    assert comparison.left_out == ("accuracy",)
    windows = Side("cpu", "", CONDITIONS, windows={"p50": generator.normal(9, 1, 30)})
    with pytest.raises(compare.CompareError, match=r"cpu has no p99 \(it knows p50\): leave it out of --metrics"):
        compare.against_first([windows, windows], ["p50", "p99"])


def test_windows_of_an_in_process_benchmark_are_compared_by_their_means():
    generator = chance()
    a, b = (
        Side(
            name,
            "",
            {"measured": "the model in process", "model": "minilm"},
            windows={"throughput": generator.normal(rate, 1, 30), "p50": generator.normal(1e3 / rate, 0.1, 30)},
        )
        for name, rate in (("cpu", 41.0), ("inf1", 200.0))
    )
    (comparison,) = compare.against_first([a, b])
    assert comparison.left_out == ("p90", "p99", "errors", "accuracy")
    throughput, p50 = comparison.findings
    assert throughput.change.value == pytest.approx(200 / 41, rel=0.02)
    assert throughput.change.low < 200 / 41 < throughput.change.high
    assert (throughput.real, p50.real) == (BETTER, BETTER)
