from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chatload import samples
from chatload.arrivals import Arrival
from chatload.record import Record

ROW = (0.5, 0.6, 0.9, 7, 3, samples.OK, 0.1, 5.0, 120)
rows = st.tuples(
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.floats(0, 1e6),
    st.integers(0, 2**31 - 1),
    st.integers(-1, 2**15 - 1),
    st.sampled_from([*range(7), 400, 503]),
    st.floats(0, 1e3, width=32),
    st.floats(0, 1e3, width=32),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**16 - 1),
    st.floats(0, 1e3, width=32),
)


def test_a_row_is_as_long_as_its_columns():
    assert samples.ROW.size == samples.DTYPE.itemsize


@given(st.lists(rows, max_size=30))
def test_what_is_packed_is_read_again(written):
    record = Record()
    for row in written:
        record.append(*row)
    read = samples.from_bytes(record.take())
    assert [tuple(row) for row in read.tolist()] == written
    assert record.take() == b""


@given(st.lists(rows, max_size=30))
def test_the_sample_of_an_arrival_is_its_row(written):
    record, packed = Record(), Record()
    for row in written:
        intended_s, sent_s, done_s, utterance, *answer = row[:10]
        record.sample(Arrival(intended_s, utterance, *row[10:]), sent_s, done_s, *answer)
        packed.append(*row)
    assert record.take() == packed.take()


def test_a_record_outgrows_its_chunk_in_order():
    record = Record()
    for serial in range(10_000):
        record.append(serial, *ROW[1:], 0, 0, 0, 0, 0.0)
        assert len(record) == serial + 1
    assert (samples.from_bytes(record.take())["intended_s"] == np.arange(10_000)).all()
    assert len(record) == 0


def test_a_row_cut_off_at_the_end_is_left_out():
    assert len(samples.from_bytes(samples.pack(*ROW) * 2 + b"cut")) == 2
    assert len(samples.from_bytes(b"")) == 0


def test_outcomes_have_words():
    assert [samples.outcome_name(code) for code in (0, 1, 5, 503)] == ["ok", "wrong", "dropped", "http_503"]


def test_an_unanswered_arrival_never_looks_fast():
    packed = b"".join(
        samples.pack(*ROW[:5], outcome, *ROW[6:])
        for outcome in (samples.OK, samples.WRONG, samples.TIMEOUT, samples.DROPPED, 503)
    )
    latency = samples.latency_ms(samples.from_bytes(packed))
    assert np.allclose(latency[:2], 400)
    assert all(math.isinf(value) for value in latency[2:])


def test_waiting_for_the_turn_before_is_no_lag_but_is_latency():
    rows = samples.from_bytes(samples.pack(1.0, 1.5, 1.6, 0, 0, samples.OK, 0.1, 1.0, 10, held_s=0.5, session=3, turn=2))
    assert samples.lag_ms(rows) == [0.0]
    assert np.isclose(samples.latency_ms(rows), 600)
