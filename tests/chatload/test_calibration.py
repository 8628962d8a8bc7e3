from __future__ import annotations

from dataclasses import replace
from heapq import heapreplace

import numpy as np
import pytest

from chatload import samples
from chatload.calibration import Calibration, CalibrationError, calibrate, calibrate_in, within
from chatload.forecast import Fleet, Traffic, latencies_ms
from chatload.haste import NONE, Haste, loads
from chatload.simulation import Instance, Service, latencies_s
from chatload.wander import STEADY, Course, Wander

SECONDS = 100.0
LENGTHS = [10, 40]
BESIDE_S, HANDOVER_S = 0.001, 0.0005


def served(
    load: float,
    workers: int = 1,
    beside_s: float = BESIDE_S,
    slower_s: float = 0.0,
    faster_s: float = 0.0,
    seed: int = 1,
    wandering: Wander = STEADY,
    hastening: Haste = NONE,
    peak: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """(rows, true time in a worker) of requests to workers of 4 ms to 8 ms each, whose server tells all but HANDOVER_S.

    A request that finds a worker rested for 10 ms or longer takes ``slower_s`` longer, of which the server tells nothing;
    one that is queued behind another that was, ``faster_s`` less, which the server tells. The pace is ``wandering`` and
    ``hastening``. In one of five parts of every 10 s the rate is ``peak`` times the mean, in the others the rest of it.
    """
    generator = np.random.default_rng(seed)
    count = int(load * workers * SECONDS / 0.006)
    found = np.zeros(count, samples.DTYPE)
    part = generator.choice(5, size=count, p=[peak / 5] + 4 * [(1 - peak / 5) / 4])
    sent_s = np.sort(10 * generator.integers(SECONDS / 10, size=count) + 2 * (part + generator.random(count)))
    found["utterance"] = generator.integers(len(LENGTHS), size=count)
    occupied_s = np.where(found["utterance"], 0.007, 0.005) + generator.uniform(-0.001, 0.001, count)
    occupied_s = (occupied_s + hastening.added_s(loads(sent_s, workers))) * wandering.factors(sent_s, generator)
    found["intended_s"], found["sent_s"] = sent_s, sent_s
    service = Service(np.array([occupied_s - faster_s, occupied_s, occupied_s, occupied_s + slower_s]), (0.0, 0.01))
    found["done_s"] = sent_s + latencies_s(sent_s, service, Instance(workers, 1000, np.inf, beside_s))
    told_s = np.minimum(taken_s(sent_s, found["done_s"] - beside_s, workers), occupied_s) - HANDOVER_S
    found["tokenize_ms"], found["infer_ms"] = 0.1, told_s * 1e3 - 0.1
    return found, occupied_s


def taken_s(sent_s: np.ndarray, ended_s: np.ndarray, workers: int) -> np.ndarray:
    """For how long each request was in the hands of a worker, given when they were."""
    free_s, started_s = [0.0] * workers, []
    for at_s, until_s in zip(sent_s, ended_s, strict=True):
        started_s.append(max(at_s, heapreplace(free_s, until_s)))
    return ended_s - started_s


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("beside_s", [0.0, BESIDE_S, -0.0003])
def test_time_in_a_worker_is_told_from_time_beside_it(workers, beside_s):
    rows, occupied_s = served(0.3, workers, beside_s)
    found = calibrate(rows, LENGTHS, workers, 0.0, SECONDS)
    assert found.separated
    assert found.pass_s == pytest.approx(beside_s, abs=1e-5)
    assert found.occupied_s.mean() == pytest.approx(occupied_s.mean(), rel=0.02)
    assert found.utilisation == pytest.approx(0.3, rel=0.05)


def test_what_is_slower_after_a_rest_is_time_in_the_worker_and_drawn_after_a_rest():
    found = calibrate(served(0.3, slower_s=0.002)[0], LENGTHS, 1, 0.0, SECONDS)
    assert found.pass_s == pytest.approx(BESIDE_S, abs=1e-5)
    assert found.busy_s == pytest.approx(0.006, rel=0.02)
    service = found.service(5_000, np.random.default_rng(1))
    assert len(service.times_s) == len(service.rests_s) + 2
    means_s = service.times_s.mean(axis=1)
    assert means_s[:3] == pytest.approx([0.006, 0.006, 0.006], rel=0.03)
    assert means_s[-1] == pytest.approx(0.008, rel=0.03)


@pytest.mark.parametrize("workers", [1, 3])
def test_what_is_faster_in_full_swing_is_drawn_behind_a_queue(workers):
    found = calibrate(served(0.39, workers, 0.0003, faster_s=0.0005)[0], LENGTHS, workers, 0.0, SECONDS)
    assert found.swing == pytest.approx(0.0055 / 0.006, abs=0.02)
    assert found.busy_s == pytest.approx(0.0055, rel=0.03)
    assert found.utilisation == pytest.approx(0.39, rel=0.05)
    means_s = found.service(5_000, np.random.default_rng(1)).times_s.mean(axis=1)
    assert means_s[:3] == pytest.approx([0.0055, 0.006, 0.006], rel=0.03)


def test_chance_is_no_swing():
    swings = [calibrate(served(0.3, seed=seed)[0], LENGTHS, 1, 0.0, SECONDS).swing for seed in range(10, 30)]
    assert swings == pytest.approx(np.ones(20), abs=0.02)
    assert swings.count(1.0) >= 10


def test_few_later_requests_of_a_queue_tell_no_swing():
    found = calibrate(served(0.1, faster_s=0.0005)[0], LENGTHS, 1, 0.0, SECONDS)
    assert found.separated
    assert found.swing == 1.0


def test_answers_that_leave_late_do_not_make_the_next_request_short():
    # Every fifth answer with a request queued behind it leaves 3 ms late, while its worker is at the next one.
    rows, occupied_s = served(0.3)
    queued_next = np.append(rows["sent_s"][1:] < rows["done_s"][:-1], False)
    late = queued_next & (np.random.default_rng(2).random(len(rows)) < 0.2)
    rows["done_s"] = rows["done_s"] + np.where(late, 0.003, 0.0)
    found = calibrate(rows, LENGTHS, 1, 0.0, SECONDS)
    assert found.busy_s == pytest.approx(occupied_s.mean(), rel=0.02)
    assert found.pass_s == pytest.approx(BESIDE_S, abs=5e-5)


def test_times_that_the_server_does_not_tell_are_kept():
    # As benchmarks/stand_in.py mm1: exponential times, and timings that say nothing of them.
    rows, _ = served(0.3)
    service_s = np.random.default_rng(3).exponential(0.006, len(rows))
    instance = Instance(1, 1000, np.inf, 0.0)
    rows["done_s"] = rows["sent_s"] + latencies_s(rows["sent_s"], Service(service_s[np.newaxis]), instance)
    rows["tokenize_ms"], rows["infer_ms"] = 0.01, 0.02
    found = calibrate(rows, LENGTHS, 1, 0.0, SECONDS)
    assert found.queued_s.mean() == pytest.approx(0.006, rel=0.06)
    assert found.queued_s.std() == pytest.approx(0.006, rel=0.15)


def test_even_arrivals_have_groups_of_rest_too():
    alike = dict.fromkeys(("idle_s", "idle_server_s", "queued_s", "queued_server_s", "queued_letters"), np.ones(300))
    alike["later"] = np.arange(300) % 2 == 0
    alike |= dict.fromkeys(("letters", "idle_calm", "queued_calm", "idle_load", "queued_load"), np.ones(300))
    found = Calibration(**alike, rest_s=np.full(300, 0.02), wander=STEADY, haste=NONE, idle_share=1.0, workers=1, rate=1.0)
    assert found.rests_s.tolist() == [0.0]
    assert found.service(5, np.random.default_rng(1)).times_s.shape == (3, 5)


def test_without_requests_back_to_back_all_time_is_the_workers():
    rows, _ = served(0.03)
    found = calibrate(rows, LENGTHS, 1, 0.0, SECONDS)
    assert (found.separated, found.pass_s) == (False, 0.0)
    assert np.array_equal(found.occupied_s, found.idle_s)
    service = found.service(10, np.random.default_rng(1))
    assert (service.times_s.shape, len(service.rests_s)) == ((1, 10), 0)


def test_longer_utterances_take_longer():
    rows, _ = served(0.2)
    (short, fast_s), (long, slow_s) = calibrate(rows, LENGTHS, 1, 0.0, SECONDS).by_length()
    assert (short, long) == (10, 40)
    assert (fast_s, slow_s) == (pytest.approx(0.005, rel=0.03), pytest.approx(0.007, rel=0.03))


def test_warm_up_shows_the_queue_but_is_not_counted():
    rows, _ = served(0.2)
    found = calibrate(rows, LENGTHS, 1, SECONDS / 2, SECONDS)
    assert len(found.idle_s) < np.count_nonzero(rows["intended_s"] >= SECONDS / 2)
    assert found.rate == pytest.approx(0.2 / 0.006, rel=0.1)


def test_another_run_is_alike_but_not_the_same():
    rows, _ = served(0.2)
    found = calibrate(rows, LENGTHS, 1, 0.0, SECONDS)
    other = found.resampled(np.random.default_rng(1))
    assert len(other.idle_s) == len(found.idle_s)
    assert set(other.idle_s) < set(found.idle_s)
    # What is known of a request stays with it.
    overhead_s = other.idle_s - other.idle_server_s
    assert overhead_s == pytest.approx(np.full(len(overhead_s), BESIDE_S + HANDOVER_S), abs=1e-6)


WANDERING = Wander((0.0, 0.01, 0.01, 0.005))


def test_a_pace_that_wanders_is_found_and_taken_out_of_the_times():
    quiet, wandering = (calibrate(served(0.3, wandering=pace)[0], LENGTHS, 1, 0.0, SECONDS) for pace in (STEADY, WANDERING))
    assert quiet.wander == STEADY
    assert (quiet.idle_calm == 1).all()
    assert wandering.wander.variance == pytest.approx(WANDERING.variance, rel=0.3)
    assert sum(wandering.wander.variances[2:]) == pytest.approx(0.015, rel=0.5)
    # Times drawn by themselves vary as those of the quiet machine do, about the mean of the wandering one.
    calm_s = wandering.service(20_000, np.random.default_rng(1)).times_s[2:]
    assert calm_s.mean() == pytest.approx(wandering.occupied_s.mean(), rel=0.05)
    assert calm_s.std() / calm_s.mean() == pytest.approx(quiet.occupied_s.std() / quiet.occupied_s.mean(), rel=0.1)
    assert wandering.occupied_s.std() / wandering.occupied_s.mean() > 1.2 * calm_s.std() / calm_s.mean()


def test_the_bad_moments_of_a_calibration_are_forecast_near_full_load():
    bad = Wander(STEADY.variances, Course(0.25, 4 * (0.5, 0.5, *38 * (0.0,))))  # half a second of each ten
    found = calibrate(served(0.3, wandering=bad)[0], LENGTHS, 1, 0.0, SECONDS)
    # Above its usual pace by half in the log, and never below by more than noise.
    assert found.wander.course.slowest(0.04) / found.wander.course.slowest(0.5) == pytest.approx(np.exp(0.5), rel=0.15)
    generator = np.random.default_rng(2)
    sent_s = generator.exponential(0.006 / 0.75, 200_000).cumsum()
    occupied_s = generator.choice([0.005, 0.007], len(sent_s)) + generator.uniform(-0.001, 0.001, len(sent_s))
    service = Service((occupied_s * bad.factors(sent_s, generator))[np.newaxis])
    truth_ms = 1e3 * np.quantile(latencies_s(sent_s, service, Instance(1, 1_000, np.inf, BESIDE_S)), 0.99)
    calm = replace(found, wander=replace(found.wander, course=None))
    traffic, fleet = Traffic("poisson", 0.75 / 0.006, 20_000), Fleet(1, "random", 1_000, np.inf)
    said_ms, gaussian_ms = (
        np.median([np.quantile(latencies_ms(one, traffic, fleet, seed), 0.99) for seed in range(9)]) for one in (found, calm)
    )
    assert said_ms == pytest.approx(truth_ms, rel=0.2)
    assert gaussian_ms < 0.8 * truth_ms


def test_some_windows_of_a_run_are_a_calibration_of_their_own():
    rows, _ = served(0.3)
    slow = (rows["sent_s"] >= 20) & (rows["sent_s"] < 40)
    for name in ("tokenize_ms", "infer_ms"):
        rows[name][slow] *= 3  # a part that no window has
    windows = [(0.0, 20.0), (40.0, 70.0)]
    assert within(np.array([0.0, 19.9, 20.0, 39.9, 40.0, 70.0]), windows).tolist() == [True, True, False, False, True, False]
    found, first = calibrate_in(rows, LENGTHS, 1, windows), calibrate(rows, LENGTHS, 1, 0.0, 20.0)
    inside = within(rows["intended_s"], windows)
    assert found.rate == pytest.approx(np.count_nonzero(inside) / 50)
    assert len(found.idle_s) + len(found.queued_s) <= np.count_nonzero(inside)
    assert found.idle_server_s.max() < 0.010 < rows["infer_ms"][slow].max() / 1e3
    assert found.idle_s[: len(first.idle_s)] == pytest.approx(first.idle_s)


def test_what_frees_a_time_of_the_wander_stays_with_it():
    found = calibrate(served(0.3, wandering=WANDERING)[0], LENGTHS, 1, 0.0, SECONDS)
    calm = dict(zip(found.idle_s.tolist(), found.idle_calm.tolist(), strict=True))
    other = found.resampled(np.random.default_rng(1))
    assert other.idle_calm.tolist() == [calm[idle_s] for idle_s in other.idle_s.tolist()]
    assert other.wander == found.wander


HASTENING = Haste(-0.0018 * 0.006, 0.0, 1 / 0.006)  # 0.18 ms less for each 10 % of full load, be it of 5 ms or of 7
SLOWING = Haste(0.0012 * 0.006, 0.0, 1 / 0.006)


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("truth", [HASTENING, SLOWING], ids=["faster", "slower"])
def test_what_a_load_that_varies_makes_faster_or_slower_is_found_and_given_back(workers, truth):
    found = calibrate(served(0.2, workers, hastening=truth, peak=3.0)[0], LENGTHS, workers, 0.0, SECONDS)
    assert found.haste.slope_s == pytest.approx(truth.slope_s, rel=0.15)
    assert abs(found.haste.slope_s - truth.slope_s) < 3 * found.haste.error_s
    assert found.swing == pytest.approx(1, abs=0.015)
    assert found.busy_s == pytest.approx(0.006 + truth.slope_s * found.haste.most, rel=0.04)
    unloaded_s = found.service(20_000, np.random.default_rng(1)).times_s.mean(axis=1)
    assert unloaded_s == pytest.approx(np.full(len(unloaded_s), 0.006), rel=0.03)
    moments_s = np.arange(1, 4_000) / (0.6 * workers / 0.006)
    added_s, factors = found.pace(moments_s, np.random.default_rng(1))
    assert added_s[1_000:].mean() == pytest.approx(truth.slope_s * 0.6 / 0.006, rel=0.15)
    assert (factors == 1).all()


def test_haste_is_found_in_bursts_beyond_full_load():
    found = calibrate(served(0.38, hastening=HASTENING, peak=3.0)[0], LENGTHS, 1, 0.0, SECONDS)
    assert found.haste.slope_s == pytest.approx(HASTENING.slope_s, rel=0.15)
    assert found.swing == pytest.approx(1, abs=0.02)


def test_haste_is_found_within_its_error_beside_a_wandering_pace():
    runs = [served(0.2, wandering=WANDERING, hastening=HASTENING, peak=3.0, seed=seed)[0] for seed in range(20)]
    found = [calibrate(rows, LENGTHS, 1, 0.0, SECONDS).haste for rows in runs]
    assert sum(abs(one.slope_s - HASTENING.slope_s) < 2 * one.error_s for one in found) >= 18


def test_a_steady_rate_tells_no_haste():
    found = calibrate(served(0.3, wandering=WANDERING, hastening=HASTENING)[0], LENGTHS, 1, 0.0, SECONDS)
    assert found.haste == NONE


def test_chance_and_a_wandering_pace_are_hardly_haste():
    runs = [served(0.2, wandering=WANDERING, peak=3.0, seed=seed)[0] for seed in range(20)]
    found = [calibrate(rows, LENGTHS, 1, 0.0, SECONDS).haste for rows in runs]
    changes_s = [one.full_s for one in found]
    assert changes_s.count(0.0) >= 10
    assert abs(np.mean(changes_s)) < 0.1 * abs(HASTENING.full_s)
    assert max(map(abs, changes_s)) < 0.5 * abs(HASTENING.full_s)


def test_haste_ends_at_the_highest_load_that_was_seen():
    found = calibrate(served(0.2, hastening=HASTENING, peak=3.0)[0], LENGTHS, 1, 0.0, SECONDS)
    assert 0.5 / 0.006 < found.haste.most < 0.7 / 0.006
    assert np.quantile(np.concatenate([found.idle_load, found.queued_load]), 0.9) == found.haste.most


def test_haste_ends_where_its_effect_did():
    truth = Haste(-0.0015 * 0.02, 0.0, 0.3 / 0.006)
    found = [
        calibrate(served(0.2, hastening=truth, peak=3.0, seed=seed)[0], LENGTHS, 1, 0.0, SECONDS).haste for seed in range(5)
    ]
    assert [one.most for one in found] == pytest.approx([truth.most] * 5, rel=0.3)
    assert [one.full_s for one in found] == pytest.approx([truth.full_s] * 5, rel=0.2)


def test_haste_is_told_without_requests_back_to_back_too():
    found = calibrate(served(0.02, hastening=HASTENING, peak=1.0)[0], LENGTHS, 1, 0.0, SECONDS)
    assert not found.separated
    hasty = replace(found, haste=HASTENING)
    load = 100 * np.ones(len(found.idle_load))
    assert replace(hasty, idle_load=load).busy_s == pytest.approx(found.busy_s - 0.0018 * 0.4, rel=1e-6)
    assert hasty.utilisation == found.utilisation


def test_the_load_before_a_request_stays_with_it():
    found = calibrate(served(0.2, hastening=HASTENING, peak=3.0)[0], LENGTHS, 1, 0.0, SECONDS)
    other = found.resampled(np.random.default_rng(1))
    for kind in ("idle", "queued"):
        load = dict(zip(getattr(found, f"{kind}_s").tolist(), getattr(found, f"{kind}_load").tolist(), strict=True))
        assert getattr(other, f"{kind}_load").tolist() == [load[time_s] for time_s in getattr(other, f"{kind}_s").tolist()]


def refusal(rows: np.ndarray, workers: int = 1) -> str:
    with pytest.raises(CalibrationError) as refused:
        calibrate(rows, LENGTHS, workers, 0.0, SECONDS)
    return str(refused.value)


def test_what_cannot_be_calibrated_from_is_refused():
    assert "% busy, at most 40.0 % will do: calibrate at 33" in refusal(served(0.6)[0])
    assert "requests found a worker idle, at least 300 are needed" in refusal(served(0.01)[0])
    assert "no request in its measured window" in refusal(served(0.2)[0][:0])
    rows, _ = served(0.2)
    untimed, failed = rows.copy(), rows.copy()
    untimed["infer_ms"] = np.nan
    failed["outcome"][::20] = 503
    assert "serve what sends Server-Timing" in refusal(untimed)
    assert "5.01 % of its requests got no answer" in refusal(failed)


def test_a_server_that_holds_answers_back_is_no_queue():
    rows, _ = served(0.3)
    rows["tokenize_ms"], rows["infer_ms"] = 0.1, 0.2
    held = rows["sent_s"] % 5 < 0.5  # whatever is sent in the first half second of five is answered at its end, at once
    rows["done_s"] = np.where(held, rows["sent_s"] // 5 * 5 + 0.5, rows["sent_s"] + 0.001)
    with pytest.raises(CalibrationError, match=r"it held answers back, or has more than 1 workers"):
        calibrate(rows, LENGTHS, 1, 0.0, SECONDS)


def test_workers_that_were_not_told_of_are_noticed():
    rows, _ = served(0.35, workers=4)
    with pytest.raises(CalibrationError, match=r"has more than 1 workers \(--workers\)"):
        calibrate(rows, LENGTHS, 1, 0.0, SECONDS)
