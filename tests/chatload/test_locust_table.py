"""Locust's table. Locust itself is imported in another process: it would replace the sockets and threads of all tests."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import locust_table, samples


def histogram(latencies_ms: list[float]) -> dict[float, int]:
    values = np.array(latencies_ms)
    return dict(locust_table._histogram(values, values.min(), values.max()))


@given(st.lists(st.floats(0, 99), min_size=1, max_size=30), st.floats(1_000, 20_000))
def test_short_latencies_have_the_same_keys_alone_and_beside_a_long_one(short_ms, long_ms):
    beside = Counter(histogram([*short_ms, long_ms]))
    beside.subtract(histogram([long_ms]))
    assert histogram(short_ms) == +beside
    assert sum(histogram(short_ms).values()) == len(short_ms)


@pytest.mark.parametrize(
    ("latency_ms", "key"),
    [(0.04, 0.0), (0.26, 0.3), (99.94, 99.9), (99.97, 100.0), (100.4, 100), (999.6, 1000), (1_234, 1230)],
)
def test_keys_are_finer_where_latencies_are_short(latency_ms, key):
    assert histogram([latency_ms]) == {key: 1}
    assert histogram([latency_ms, 5_000.0]) == {key: 1, 5_000.0: 1}


@pytest.fixture
def added(monkeypatch):
    """(rows, name, moment) of what is added to Locust's statistics."""
    found = []
    monkeypatch.setattr(locust_table, "_add", lambda stats, name, rows, at_s: found.append((len(rows), name, at_s)))
    return found


def rows(count: int) -> bytes:
    return samples.pack(0.0, 0.0, 0.001, 0, 0, samples.OK, 0.1, 0.2, 100) * count


def test_what_came_in_one_second_is_added_with_the_next_under_its_own(added, monkeypatch):
    table = locust_table.Table(None, lambda: "intent")
    for moment_s, count in ((10.1, 3), (10.4, 2), (10.9, 1), (11.2, 7), (13.0, 4)):
        monkeypatch.setattr(locust_table.time, "time", lambda moment_s=moment_s: moment_s)
        table.take(rows(count))
    table.flush()
    assert [entry for entry in added if entry[0]] == [(6, "intent", 10.9), (7, "intent", 11.2), (4, "intent", 13.0)]


def test_many_rows_do_not_wait(added, monkeypatch):
    monkeypatch.setattr(locust_table.time, "time", lambda: 10.5)
    table = locust_table.Table(None, lambda: "intent")
    for _ in range(3):
        table.take(rows(6_000))
    assert sum(count for count, _, _ in added) == 12_000


CURRENT = """
import time
from locust.stats import RequestStats
from chatload import locust_table, samples

start_s = 1_000_000_000
time.time = lambda: start_s
stats = RequestStats()
table = locust_table.Table(stats, lambda: "intent")
for step in range(4 * 30):
    now_s = start_s + step / 4 + 0.1
    time.time = lambda: now_s
    took_s = 0.004 if step < 4 * 15 else 0.008
    table.take(samples.pack(0.0, 0.0, took_s, 0, 0, samples.OK, 0.1, 0.2, 100) * 25)
print(stats.total.current_rps, stats.total.get_current_response_time_percentile(0.5), stats.total.num_requests)
"""


def test_locusts_own_figures_of_the_last_seconds_hold():
    done = subprocess.run([sys.executable, "-c", CURRENT], capture_output=True, text=True, check=True)
    rate, median_ms, count = map(float, done.stdout.split())
    assert (rate, median_ms) == (100.0, 8.0)
    assert count == 29 * 100  # the last second waits for the next
