"""Buckets: what a target's memory leaves of the wanted lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.buckets import WEIGHTS_PER_CORE, fitting
from model.recipes import BUCKETS


@given(
    st.lists(st.integers(1, 1024), min_size=1),
    st.integers(4, 512),
    st.integers(1, 3_000_000_000),
    st.sampled_from(["inf1", "inf2", "cuda"]),
)
def test_the_longest_input_always_fits_and_memory_is_kept(wanted, longest, weights, target):
    lengths = fitting(wanted, longest, weights, target)
    assert lengths == sorted(set(lengths))
    assert lengths[-1] == min(max(wanted), longest)
    assert set(lengths) <= {min(length, longest) for length in wanted}
    if target in WEIGHTS_PER_CORE and len(lengths) > 1:
        assert len(lengths) * weights <= WEIGHTS_PER_CORE[target]


@pytest.mark.parametrize(
    ("weights", "target", "lengths"),
    [
        (110_000_000, "inf1", [16, 32, 64, 128, 512]),  # BERT-base
        (335_000_000, "inf1", [16, 512]),  # BERT-large
        (335_000_000, "inf2", [16, 32, 64, 128, 512]),
        (5_000_000_000, "inf1", [512]),
        (5_000_000_000, "cuda", [16, 32, 64, 128, 512]),  # one graph takes every length
    ],
)
def test_large_models_get_fewer_graphs_on_inferentia(weights, target, lengths):
    assert fitting(BUCKETS, 512, weights, target) == lengths


def test_a_model_with_a_short_limit_gets_no_longer_graph():
    assert fitting(BUCKETS, 128, 1, "inf1") == [16, 32, 64, 128]
