"""The histogram of Locust's table. Locust itself is not imported: it would replace the sockets and threads of all tests."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import locust_table


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
