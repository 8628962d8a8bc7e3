from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatload import calibrated, calibration, cli
from tests.chatload.made_runs import make_run

FEW = ("--duration", "10s", "--objective", "p90<50ms,accuracy>97%")


def quiet_ms() -> np.ndarray:
    """A worker that is busy for 2 ms of every 10 ms, or a little more."""
    return np.random.default_rng(1).uniform(2.0, 2.4, 1_000)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "quiet", quiet_ms(), timeout_s=10.0)


def test_the_command_says_what_is_measured_assumed_and_extrapolated(quiet, tmp_path, capsys):
    cli.main(["forecast", str(quiet), "--rate", "200", *FEW, "--json", str(tmp_path / "forecast.json")])
    out = capsys.readouterr().out
    assert "poisson arrivals at 200/s, 2,000 in each of 39 simulated runs" in out
    assert "1 instance of 1 worker, queue of 100, timeout 10 s" in out
    assert f"{quiet}: minilm f5ae90f151ea" in out
    assert "100/s, 1 worker 21.0 % busy; 1,000 requests found a worker idle" in out
    assert "all of an answer's time is spent in a worker: only 0 requests were served back to back" in out
    assert "from 21.0 % of full load to 42.0 %" in out
    assert "not forecast: accuracy>97%" in out
    found = json.loads((tmp_path / "forecast.json").read_text())
    assert found["latency_ms"]["p50"]["low"] <= found["latency_ms"]["p50"]["value"] <= found["latency_ms"]["p50"]["high"]
    assert found["latency_ms"]["p99.99"] is None
    assert 2.0 < found["latency_ms"]["p50"]["value"] < 4.0
    assert 300 < found["capacity"]["value"] < 1000 / 2.0
    assert found["errors"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_fleet_and_a_trace(quiet, tmp_path, capsys):
    trace = tmp_path / "trace.csv"
    trace.write_text("offset_s,who\n" + "".join(f"{7 + number / 1000},x\n" for number in range(2_000)))
    routed = ["--instances", "3", "--routing", "least-outstanding"]
    cli.main(["forecast", str(quiet), "--trace", str(trace), *routed])
    out = capsys.readouterr().out
    assert "trace arrivals at 1,000/s, 2,000 in each" in out
    assert "3 instances of 1 worker, least-outstanding, queue of 100" in out
    assert "capacity  not sought for a trace; full load is 1,4" in out
    assert "from one instance to 3, all alike, behind a balancer that takes no time" in out


def test_rests_beyond_those_measured_are_named(quiet, capsys):
    cli.main(["forecast", str(quiet), "--rate", "0.5", "--duration", "30m", "--objective", "p50<50ms"])
    assert "to workers that rest for about 2 s at a time, from at most 8 ms" in capsys.readouterr().out


def test_overload_has_no_answer(quiet, capsys):
    cli.main(["forecast", str(quiet), "--rate", "2000", "--duration", "1s", "--objective", "p90<1ms"])
    out = capsys.readouterr().out
    assert "no answer in any" in out
    assert "p90<1ms does not hold at any rate" in out


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["forecast", *map(str, arguments)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_runs_that_are_no_calibration_are_one_clear_line(tmp_path, capsys):
    busy = make_run(tmp_path / "busy", quiet_ms() * 3, timeout_s=10.0)
    assert f"{busy} is no calibration: its workers were 65" in refused(capsys, busy, "--rate", 10)
    cut = make_run(tmp_path / "cut", quiet_ms(), timeout_s=10.0, interrupted="Ctrl-C")
    assert f"{cut} is an invalid run: interrupted: Ctrl-C; run it again" in refused(capsys, cut, "--rate", 10)
    assert "is not a run's folder" in refused(capsys, tmp_path, "--rate", 10)
    old = make_run(tmp_path / "old", quiet_ms())
    assert "is not as chatload writes it (KeyError('timeout_s'))" in refused(capsys, old, "--rate", 10)


def test_a_run_of_sessions_is_no_calibration(tmp_path):
    folder = make_run(tmp_path / "run", quiet_ms(), timeout_s=10.0)
    content = json.loads((folder / "run.json").read_text())
    content["run"]["sessions"] = "default"
    (folder / "run.json").write_text(json.dumps(content))
    with pytest.raises(calibration.CalibrationError, match="is a run of sessions, whose turns wait for each other"):
        calibrated.read(folder, 1)


def test_bad_arguments_are_one_clear_line(quiet, tmp_path, capsys):
    assert "--rate 0: write a number above 0" in refused(capsys, quiet, "--rate", 0)
    assert "--rate nan: write a number above 0" in refused(capsys, quiet, "--rate", "nan")
    assert "--instances 0: write a whole number from 1 to 1000" in refused(capsys, quiet, "--rate", 1, "--instances", 0)
    assert "--timeout: 'soon' is not a duration" in refused(capsys, quiet, "--rate", 1, "--timeout", "soon")
    assert "--duration 0s: write a duration above 0" in refused(capsys, quiet, "--rate", 1, "--duration", "0s")
    assert "write for example p99<100ms" in refused(capsys, quiet, "--rate", 1, "--objective", "fast")
    assert "no clause on latency or errors" in refused(capsys, quiet, "--rate", 1, "--objective", "accuracy>9%")
    assert "no arrival falls into 1 s at 0.1/s" in refused(capsys, quiet, "--rate", 0.1, "--duration", "1s")
    assert "cannot be written" in refused_late(capsys, quiet, "--rate", 50, *FEW, "--json", tmp_path / "no" / "such")


def refused_late(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The same for what is only seen when the forecast has been printed."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["forecast", *map(str, arguments)])
    assert ended.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1\n2\nthree\n", "line 3: 'three' is not a number of seconds"),
        ("1\n3\n2\n", "in order of time"),
        ("5\n", "two arrivals or more are wanted"),
        ("5\n5\n", "two arrivals or more are wanted"),
        ("0\nnan\n", "two arrivals or more are wanted"),
        ("", "two arrivals or more are wanted"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path, text, why):
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(calibrated.TraceError, match=why):
        calibrated.read_trace(path)


def test_a_missing_trace_is_refused(tmp_path):
    with pytest.raises(calibrated.TraceError, match=r"none.csv cannot be read \(No such file or directory\)"):
        calibrated.read_trace(tmp_path / "none.csv")


def test_a_trace_counts_from_its_first_arrival(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("at_s,text\n100.5,hi\n100.5,you\n\n102,there\n")
    assert calibrated.read_trace(path).tolist() == [0.0, 0.0, 1.5]


def test_a_run_of_turns_is_no_calibration(tmp_path, capsys):
    folder = make_run(tmp_path / "turns", quiet_ms(), timeout_s=10.0, calls={"intent": [], "act": ["intent"]})
    with pytest.raises(SystemExit) as ended:
        cli.main(["forecast", str(folder), "--rate", "50"])
    assert ended.value.code == 2
    assert "its arrivals are turns of several calls" in capsys.readouterr().err
