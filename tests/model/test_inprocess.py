"""The in-process benchmark: its arithmetic on a clock of the test's own, and a real archive measured."""

from __future__ import annotations

import csv
import json
import os
from itertools import count

import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from model.command import main
from model.inprocess import percentile_ms, summary, windows


class Clock:
    """Moves on only while something is inferred."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def infer(self, takes_s: float) -> None:
        self.now_s += takes_s


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return tiny.tiny_archive(tmp_path_factory.mktemp("archive"))


def run(latencies, duration_s, interval_s):
    clock, found = Clock(), []
    return list(windows(clock.infer, iter(latencies), duration_s, interval_s, found, clock)), found


def test_windows_count_on_and_speak_of_their_own_interval():
    found, latencies_s = run([0.125] * 8 + [0.25] * 4, 2.0, 1.0)
    assert [window.inferences for window in found] == [8, 12]
    assert [window.throughput for window in found] == [8, 4]
    assert [window.p50_ms for window in found] == [125, 250]
    assert {window.pid for window in found} == {os.getpid()}
    assert len(latencies_s) == 12


def test_an_inference_longer_than_the_interval_has_a_window_of_its_own():
    found, _ = run([2.5, 2.5], 4.0, 1.0)
    assert [window.inferences for window in found] == [1, 2]
    assert [window.throughput for window in found] == pytest.approx([0.4, 0.4])


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=50))
def test_every_inference_is_in_exactly_one_window(latencies):
    endless = (latencies[n % len(latencies)] for n in count())
    found, latencies_s = run(endless, 3.0, 0.7)
    assert found[-1].inferences == len(latencies_s)
    assert sum(latencies_s) >= 3.0 - 1e-9
    assert all(window.p50_ms <= window.p90_ms for window in found)


def test_percentiles_are_the_nearest_rank():
    ordered = [n / 1000 for n in range(1, 11)]
    assert percentile_ms(ordered, 50) == pytest.approx(5)
    assert percentile_ms(ordered, 90) == pytest.approx(9)
    assert percentile_ms(ordered[:1], 50) == pytest.approx(1)


def test_the_summary_is_of_everything():
    assert summary([0.1, 0.3]) == {
        "inferences": 2,
        "throughput": pytest.approx(5),
        "p50_ms": pytest.approx(100),
        "p90_ms": pytest.approx(300),
    }


def test_a_real_archive_is_measured(archive, tmp_path, capsys):
    corpus = tiny.tiny_corpus(tmp_path)
    arguments = ["inprocess", "--archive", str(archive), "--corpus", str(corpus), "--duration", "0.4s"]
    assert main([*arguments, "--interval", "0.2", "--results", str(tmp_path / "results")]) == 0
    path = next((tmp_path / "results").glob("inprocess-cpu-fp32-*.csv"))
    rows = list(csv.DictReader(path.open()))
    assert list(rows[0]) == ["pid", "inferences", "throughput", "p50_ms", "p90_ms"]
    found = json.loads(path.with_suffix(".json").read_text())
    assert found["corpus"] == f"{corpus} (split test, 15 utterances)"
    assert found["inferences"] == int(rows[-1]["inferences"]) > 0
    assert f"{found['inferences']:,} inferences" in capsys.readouterr().out


@pytest.mark.parametrize("given", ["0", "-1", "soon", "nan", "inf"])
def test_a_wrong_duration_is_refused(given, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["inprocess", "--archive", "x.mar", "--duration", given])
    assert ended.value.code == 2
    assert "not a number of seconds" in capsys.readouterr().err


def test_a_missing_archive_is_one_line(tmp_path, capsys):
    assert main(["inprocess", "--archive", str(tmp_path / "none.mar")]) == 2
    assert "build it first" in capsys.readouterr().err
