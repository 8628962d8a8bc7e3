from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import figures, samples, statistics
from tests.chatload.simulated import LABELS, UTTERANCES, fail, poisson_s, rows, stalls_s

INTENDED_S = poisson_s(100, 120)
ROWS = rows(INTENDED_S, stalls_s(INTENDED_S))


def build(found: np.ndarray = ROWS, start_s: float = 20.0, end_s: float = 120.0) -> figures.Figures:
    return figures.build(found, UTTERANCES, LABELS, start_s, end_s)


def window(found: np.ndarray = ROWS) -> np.ndarray:
    return found[(found["intended_s"] >= 20) & (found["intended_s"] < 120)]


def test_the_curve_is_the_summarys_percentiles_with_their_intervals_and_more():
    curve = {point.share: point.latency for point in build().curve}
    summary = statistics.distribution(samples.latency_ms(window()))
    for share in (0.5, 0.9, 0.95, 0.99, 0.999):
        assert curve[share] == summary[statistics.percentile_name(share)]
    values = [estimate.value for _, estimate in sorted(curve.items())]
    assert values == sorted(values)
    assert len(values) > 50


def test_the_curve_ends_where_the_samples_carry_no_further():
    last = build().curve[-1].share
    assert statistics.needed_samples(last) <= len(window()) < statistics.needed_samples(1 - (1 - last) / 1.2)


def test_the_curve_ends_at_the_arrivals_that_were_never_answered():
    found = fail(ROWS, np.random.default_rng(2).random(len(ROWS)) < 0.05)
    assert 0.90 < build(found).curve[-1].share < 0.96


def test_every_step_of_a_line_has_the_samples_its_percentile_needs():
    for line, share in zip(build().latency, (0.5, 0.9, 0.99, 0.999), strict=True):
        counts, _ = np.histogram(window()["intended_s"], line.edges_s)
        assert counts.min() >= statistics.needed_samples(share), line.name
        assert line.edges_s[-1] == 120
    assert [line.name for line in build(rows(INTENDED_S[:2_200], INTENDED_S[:2_200])).latency] == ["p50", "p90"]


def test_a_step_is_the_percentile_of_its_samples():
    line = build().latency[1]
    inside = window()[(window()["intended_s"] >= line.edges_s[3]) & (window()["intended_s"] < line.edges_s[4])]
    ordered = np.sort(samples.latency_ms(inside))
    assert line.values[3] == ordered[math.ceil(0.9 * len(ordered)) - 1]


def test_every_arrival_and_every_answer_is_in_the_plots_over_time():
    found = fail(ROWS, ROWS["intended_s"] > 110)
    drawn = build(found)
    offered, served = (line.values @ np.diff(line.edges_s) for line in drawn.traffic)
    assert offered == pytest.approx(len(found))
    assert served == pytest.approx(np.count_nonzero(samples.answered(found)))
    assert drawn.heat.counts.sum() == np.count_nonzero(samples.answered(found))
    assert [line.name for line in drawn.failures] == ["http_503"]
    assert drawn.failures[0].values.sum() == np.count_nonzero(found["outcome"] == 503)
    assert sum(part.unanswered for part in drawn.slices) == drawn.failures[0].values.sum()


def test_requests_in_flight_are_due_and_not_over_and_dropped_ones_never_are():
    found = fail(ROWS, ROWS["intended_s"] % 10 < 0.2, samples.DROPPED)
    drawn = build(found)
    for moment_s, count in list(zip(drawn.moments_s, drawn.in_flight, strict=True))[::37]:
        out = (found["intended_s"] <= moment_s) & (found["done_s"] > moment_s)
        assert count == np.count_nonzero(out)
    assert drawn.in_flight.max() > 5


def test_the_parts_of_a_band_add_up_to_its_latency():
    latency_ms = np.sort(samples.latency_ms(window()))
    bands = build().bands
    assert [band.name for band in bands] == [
        "fastest to p50",
        "p50 to p90",
        "p90 to p99",
        "p99 to p99.9",
        "p99.9 to slowest",
    ]
    assert sum(band.count for band in bands) == len(latency_ms)
    assert sum(bands[-1].parts_ms.values()) == pytest.approx(latency_ms[-bands[-1].count :].mean())
    assert list(bands[0].parts_ms) == ["lag", "connect, queue, network", "tokenize", "infer"]


def test_a_server_that_does_not_tell_its_parts_is_not_split():
    found = ROWS.copy()
    found["infer_ms"][5_000] = np.nan
    parts = [tuple(band.parts_ms) for band in build(found).bands]
    assert ("lag", "service") in parts


def test_groups_are_told_apart_and_judged_by_their_labels():
    drawn = build()
    assert [(group.name, group.checked > 0) for group in drawn.lengths] == [
        ("1 to 8 tokens", True),
    ]
    assert [(group.name, group.mistaken_for) for group in drawn.intents] == [("greet", "order"), ("order", "greet")]
    assert sum(group.count for group in drawn.lengths) == len(window())
    greetings = window()[window()["utterance"] == 0]
    assert drawn.intents[0].count == len(greetings)
    assert drawn.intents[0].accuracy.value == np.mean(greetings["outcome"] == samples.OK)
    assert drawn.intents[0].latency_ms["p99"] == statistics.percentile(samples.latency_ms(greetings), 0.99)


def test_a_run_without_samples_has_empty_figures():
    drawn = build(np.empty(0, samples.DTYPE), 5.0, 5.0)
    assert drawn.heat is None
    assert not drawn.curve + drawn.latency + drawn.slices + drawn.bands + drawn.lengths + drawn.intents + drawn.lag


@given(st.floats(0.0, 1e7))
def test_time_is_cut_into_few_bins_of_a_round_width(end_s):
    edges_s = figures.time_edges_s(end_s)
    assert 2 <= len(edges_s) <= 102
    assert edges_s[0] == 0
    assert edges_s[-1] >= end_s
    assert np.all(np.diff(edges_s) > 0)


def test_the_axis_of_a_percentile_counts_nines():
    assert [figures.nines(share) for share in (0.9, 0.99, 0.999)] == pytest.approx([1, 2, 3])


def test_the_processors_share_comes_from_the_seconds_used():
    (line,) = figures.cpu([{"worker": 3, "cpu": [[0.0, 0.0], [2.0, 0.5], [4.0, 2.5], [4.0, 2.5]]}])
    assert line.name == "process 3"
    assert line.edges_s.tolist() == [0, 2, 4]
    assert line.values.tolist() == [0.25, 1.0]
    assert figures.cpu([{"worker": 0, "cpu": []}]) == ()
