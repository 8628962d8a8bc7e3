"""Locust's table, filled in batches, against the same filled by Locust one request at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from locust.stats import RequestStats

from chatload import contract, locust_table, samples

latencies_ms = st.one_of(st.floats(0, 99), st.floats(0, 20_000))
outcomes = st.sampled_from([samples.OK, samples.WRONG, samples.TIMEOUT, 503])


def rows_of(batch: list[tuple[float, int]]) -> np.ndarray:
    rows = np.zeros(len(batch), samples.DTYPE)
    for row, (latency_ms, outcome) in zip(rows, batch, strict=True):
        row["intended_s"], row["done_s"] = 7.0, 7.0 + latency_ms / 1e3
        row["outcome"], row["bytes"] = outcome, 100
    return rows


def by_locust(batches: list[list[tuple[float, int]]]) -> RequestStats:
    stats = RequestStats()
    for latency_ms, outcome in (one for batch in batches for one in batch):
        answered = outcome in (samples.OK, samples.WRONG)
        stats.log_request(locust_table.METHOD, contract.PATH, latency_ms if answered else None, 100)
        if not answered:
            stats.log_error(locust_table.METHOD, contract.PATH, samples.outcome_name(outcome))
    return stats


@given(st.lists(st.lists(st.tuples(latencies_ms, outcomes), max_size=8), min_size=1, max_size=4))
def test_batches_count_as_their_requests_do_one_by_one(batches):
    stats = RequestStats()
    for batch in batches:
        locust_table.add(stats, contract.PATH, rows_of(batch))
    locusts = by_locust(batches)
    pairs = [(stats.total, locusts.total)]
    pairs += [(stats.entries[key], entry) for key, entry in locusts.entries.items()]
    assert stats.entries.keys() == locusts.entries.keys()
    for ours, theirs in pairs:
        for name in ("num_requests", "num_none_requests", "num_failures", "total_content_length"):
            assert getattr(ours, name) == getattr(theirs, name), name
        assert sum(ours.response_times.values()) == sum(theirs.response_times.values())
        assert ours.total_response_time == pytest.approx(theirs.total_response_time)
        assert ours.max_response_time == pytest.approx(theirs.max_response_time)
        assert (ours.min_response_time is None) == (theirs.min_response_time is None)
        assert ours.min_response_time == pytest.approx(theirs.min_response_time)
    occurrences = {key: error.occurrences for key, error in locusts.errors.items()}
    assert {key: error.occurrences for key, error in stats.errors.items()} == occurrences


@pytest.mark.parametrize(
    ("latency_ms", "key"),
    [(0.04, 0.0), (0.26, 0.3), (99.94, 99.9), (99.97, 100.0), (100.4, 100), (999.6, 1000), (1_234, 1230)],
)
def test_keys_are_finer_where_latencies_are_short(latency_ms, key):
    for others in ([], [(5_000.0, samples.OK)]):  # alone, and beside one that is long
        stats = RequestStats()
        locust_table.add(stats, contract.PATH, rows_of([(latency_ms, samples.OK), *others]))
        assert stats.total.response_times[key] == 1
        assert len(stats.total.response_times) == 1 + len(others)
