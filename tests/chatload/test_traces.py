"""Traces: columns of CSV and Parquet files as timetables, and what is refused."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from chatload import arrival_spec, arrivals, traces

OFFSETS_S = np.cumsum(np.random.default_rng(3).exponential(0.02, size=5_000)).round(6)
OFFSETS_S -= OFFSETS_S[0]
START = datetime(2024, 3, 9, 23, 59, 58, tzinfo=UTC)


def spec(path: Path, **keys: object) -> arrival_spec.Spec:
    return arrival_spec.parse(",".join([f"trace:file={path}", *(f"{key}={value}" for key, value in keys.items())]))


def times_s(path: Path, **keys: object) -> np.ndarray:
    return np.concatenate(list(traces.plan(spec(path, **keys), 1.0, 1)))


def write_csv(path: Path, moments: list[object], column: str = "timestamp") -> Path:
    path.write_text(f"user,{column}\n" + "".join(f"u{n},{moment}\n" for n, moment in enumerate(moments)))
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda offset_s: f"{offset_s:.6f}",
        lambda offset_s: f"{1_700_000_000 + offset_s:.6f}",
        lambda offset_s: (START + timedelta(seconds=offset_s)).isoformat(),
        lambda offset_s: f"{(START + timedelta(seconds=offset_s)):%Y-%m-%d %H:%M:%S.%f}0",
    ],
    ids=["offsets", "epoch seconds", "ISO with zone", "ISO with a blank"],
)
def test_offsets_of_every_form_are_read_within_a_millisecond(tmp_path, write):
    path = write_csv(tmp_path / "trace.csv", [write(offset_s) for offset_s in OFFSETS_S])
    assert times_s(path) == pytest.approx(OFFSETS_S, abs=2e-6)


@pytest.mark.parametrize("kind", [pa.float64(), pa.timestamp("us")])
def test_parquet_is_read_by_its_column(tmp_path, kind):
    values = OFFSETS_S if kind == pa.float64() else (OFFSETS_S * 1e6).round().astype("datetime64[us]")
    parquet.write_table(pa.table({"n": range(len(values)), "at": pa.array(values, kind)}), tmp_path / "t.parquet")
    assert times_s(tmp_path / "t.parquet", column="at") == pytest.approx(OFFSETS_S, abs=1e-6)


def test_whole_seconds_at_first_and_fractions_later(tmp_path):
    moments = ["1"] * 300_000 + ["2.5"]  # the first block of the file holds whole numbers only
    assert times_s(write_csv(tmp_path / "t.csv", moments))[-1] == 1.5


def test_the_parts_of_the_processes_are_the_trace(tmp_path):
    path = write_csv(tmp_path / "t.csv", OFFSETS_S.tolist())
    for parts in (1, 2, 3):
        dealt = [np.concatenate(list(traces.part(spec(path), 1.0, 1, (part, parts), np.inf))) for part in range(parts)]
        assert np.array_equal(np.sort(np.concatenate(dealt)), OFFSETS_S)


def test_the_rate_of_a_trace_is_that_of_what_is_played(tmp_path):
    path = write_csv(tmp_path / "t.csv", [0, 1, 2, 3, 10])
    assert traces.mean_rate(spec(path), 99.0, 1, 0) == 0.5
    assert traces.mean_rate(spec(path), 99.0, 1, 4.0) == 1
    assert traces.mean_rate(spec(path, speed=2), 99.0, 1, 2.0) == 2
    with pytest.raises(arrivals.ArrivalsError, match="no arrival in the part of it that this run plays"):
        traces.mean_rate(spec(path, start=4), 99.0, 1, 5.0)


def test_the_rate_of_other_timetables_is_that_of_the_run():
    day = arrival_spec.parse("profile:start=3h,speed=24")
    night = traces.mean_rate(day, 100.0, 1, 300.0)
    assert night == pytest.approx(100 * (6 + 6) / 2 * 24 / 1708, rel=0.05)
    assert traces.mean_rate(day, 100.0, 1, 0) == 100
    assert traces.mean_rate(arrival_spec.parse("poisson"), 99.0, 1, 2.0) == 99


@pytest.mark.parametrize(
    ("text", "keys", "message"),
    [
        ("", {}, "cannot be read (Empty CSV file)"),
        ("when\n1\n", {}, "no column called timestamp, time, ts, intended_s; name one with column=: it has when"),
        ("time\n1\n", {"column": "at"}, "no column 'at'; name one with column=: it has time"),
        ("time\n1\n3\n2\n", {}, "row 3 is earlier than the one before it; sort the file"),
        ("time,n\n1,1\n,2\n", {}, "a row has no time; remove it"),
        ("time\nsoon\n", {}, "holds what is no time; write epoch seconds, ISO times or offsets in seconds"),
        ("time\n1\n2\n", {"start": "5s"}, "no arrival in the part of it that start and end leave"),
    ],
)
def test_a_bad_trace_is_refused_in_one_line(tmp_path, text, keys, message):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(arrivals.ArrivalsError, match=re.escape(f"t.csv: {message}")):
        traces.check(spec(tmp_path / "t.csv", **keys))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(arrivals.ArrivalsError, match="trace .*none.csv: cannot be read"):
        traces.check(spec(tmp_path / "none.csv"))
    with pytest.raises(arrivals.ArrivalsError, match=r"profile day .*none\.txt cannot be read"):
        traces.check(arrival_spec.parse(f"profile:file={tmp_path / 'none.txt'}"))


def test_the_day_that_ships_has_24_hours_and_its_mean():
    day = arrival_spec.parse("profile:speed=24")  # an hour, 2.5 minutes an hour of the day
    blocks = list(itertools.takewhile(lambda block: not len(block) or block[0] < 3_600, traces.plan(day, 30.0, 1)))
    found = np.concatenate(blocks)
    found = found[found < 3_600]
    assert len(found) == pytest.approx(30 * 3_600, rel=0.02)
    hours = np.histogram(found, bins=24, range=(0, 3_600))[0]
    assert np.argmax(hours) == 11
    assert hours.max() / hours.mean() == pytest.approx(132 * 24 / 1708, abs=0.06)
