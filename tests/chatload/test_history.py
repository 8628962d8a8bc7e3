from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chatload import cli, history, runfolder, runs
from chatload.history import Row
from chatload.objective import Estimate
from tests.chatload.made_runs import make_run

ROOT = Path(__file__).resolve().parents[2]


ALIKE = {
    "measured": "a served run",
    "corpus": "c",
    "model": "minilm",
    "objective": "p99<1s",
    "rate": "10/s",
    "arrivals": "poisson",
    "calls": "one",
    "sessions": "none",
    "mix": "corpus",
    "lengths": "none",
    "noise": "none",
    "repeats": "none",
    "generator's timer": "timerfd",
}
PLACE = {"scenario": "chatbot", "host": "127.0.0.1", "machine": "2 cores of a processor"}


def row(number: int, p99: float, faulty: bool = False, rate: str = "10/s", host: str = "127.0.0.1") -> Row:
    metrics = {name: Estimate(10.0, 9.0, 11.0) for name in history.METRICS} | {"p99": Estimate(p99, p99 * 0.9, p99 * 1.1)}
    started = f"2026-01-{number + 1:02d}"
    alike, place, faults = ALIKE | {"rate": rate}, PLACE | {"host": host}, ("late",) if faulty else ()
    return Row(f"run-{number}", started, "1", alike, place, 10.0, 10.0, metrics, {"ok": 600}, "pass", faults)


def test_a_rise_is_named_with_its_size():
    (drift,) = history.drifts([row(number, 40.0 + number) for number in range(9)])
    assert (drift.metric, drift.rises, drift.first, drift.last) == ("p99", True, 41, 47)
    assert drift.chance < 0.01


def test_noise_is_no_drift():
    generator = np.random.default_rng(1)
    called = [bool(history.drifts([row(n, 40 + generator.normal()) for n in range(12)])) for _ in range(300)]
    assert np.mean(called) <= 0.02


def test_faulty_runs_and_too_few_say_nothing():
    assert history.drifts([row(number, 40.0 + number, faulty=True) for number in range(9)]) == []
    assert history.drifts([row(number, 40.0 + number) for number in range(5)]) == []


def test_runs_of_different_kinds_are_not_held_against_each_other():
    rows = [row(2, 1), row(1, 1, rate="20/s"), row(0, 1), row(3, 1, host="10.0.0.7")]
    assert [[one.name for one in runs] for runs in history.kinds(rows)] == [["run-0", "run-2"], ["run-1"], ["run-3"]]
    assert row(3, 1, host="10.0.0.7").kind == (
        "chatbot: minilm, poisson 10/s, c, p99<1s; 10.0.0.7, load from 2 cores of a processor"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("generator's timer", "timerfd, awake"),
        ("calls", "language, intent after language"),
        ("mix", "zipf"),
        ("lengths", "uniform"),
        ("noise", "typos 5%"),
        ("repeats", "30%"),
    ],
)
def test_runs_of_which_one_is_unusual_are_of_two_kinds_with_two_names(name, value):
    usual = row(0, 1)
    other = replace(row(1, 1), conditions=ALIKE | {name: value})
    assert len(history.kinds([usual, other])) == 2
    assert other.kind == f"{usual.kind}, {name} {value}"


def test_runs_on_free_ports_of_one_host_are_of_one_kind_and_another_machine_is_another(tmp_path):
    folders = [
        make_run(tmp_path / name, np.full(200, 5.0), host=host, hardware={"cores": cores, "processor": "fast"})
        for name, host, cores in [
            ("a", "http://127.0.0.1:1", 2),
            ("b", "http://127.0.0.1:2", 2),
            ("c", "http://127.0.0.1:2", 4),
        ]
    ]
    kinds = history.kinds([runs.row(folder, folder.name) for folder in folders])
    assert [[one.name for one in alike] for alike in kinds] == [["a", "b"], ["c"]]


def test_a_percentile_among_failures_is_no_answer_and_counts_as_the_slowest(tmp_path):
    failing = make_run(tmp_path / "failing", np.full(1_000, 5.0), failed=50)
    found = runs.row(failing, "r")
    assert found.metrics["p99"].value == math.inf
    assert "no answer" in history.text([found])
    assert runs.row(make_run(tmp_path / "short", np.full(100, 5.0)), "r").metrics["p99"].value is None
    (drift,) = history.drifts([row(number, 40.0 + number if number < 6 else math.inf) for number in range(9)])
    assert (drift.metric, drift.rises, drift.last) == ("p99", True, math.inf)
    rows = [row(number, 40.0 + number if number < 6 else math.inf) for number in range(9)]
    assert "p99 rises: 41.0 at first, no answer of late" in history.text(rows)


def test_a_run_whose_objective_was_not_decided_is_no_faulty_one(tmp_path):
    undecided = make_run(tmp_path / "short", np.full(100, 5.0))
    cut = make_run(tmp_path / "cut", np.full(500, 5.0), interrupted="stopped by hand")
    found = [runs.row(folder, "r") for folder in (undecided, cut)]
    assert [(one.outcome, bool(one.faults)) for one in found] == [("invalid", False), ("invalid", True)]


def make_runs(folder: Path) -> None:
    for number in range(7):
        latencies = (1 + 0.05 * number) * np.random.default_rng(number).lognormal(3, 0.3, 1_000)
        make_run(
            folder / f"run-{number}",
            latencies,
            wrong=10,
            started=f"2026-01-{number + 1:02d}T10:00:00+00:00",
            id=f"run-{number}",
        )


def test_the_command_lists_the_runs_of_a_folder_and_what_drifts(tmp_path, capsys):
    make_runs(tmp_path)
    cli.main(["history", str(tmp_path), "--html", str(tmp_path / "trend.html")])
    out = capsys.readouterr().out
    assert [line.split()[2] for line in out.splitlines() if "2026-01" in line] == [f"run-{number}" for number in range(7)]
    assert "p50 rises: " in out
    assert "throughput" not in out
    page = (tmp_path / "trend.html").read_text()
    assert "p50 rises: " in page
    assert "<script src=" not in page


def test_what_cannot_be_read_is_named_after_what_can(tmp_path, capsys):
    make_runs(tmp_path)
    runfolder.create(tmp_path / "killed", {}, [])
    (tmp_path / "run-3" / "run.json").write_text('{"schema": 1, "summary": {}}')
    with pytest.raises(SystemExit) as ended:
        cli.main(["history", str(tmp_path)])
    out, err = capsys.readouterr()
    assert ended.value.code == 2
    assert "run-2" in out
    assert "run-3" not in out
    assert err.count("\n") == 1
    assert "killed holds an unfinished run" in err
    assert "run-3/run.json is damaged or of another version of chatload" in err


def test_a_folder_without_runs_is_one_clear_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["history", str(tmp_path)])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"chatload: {tmp_path} holds no runs: there is no run.json in it or below\n"


def queries() -> list[str]:
    return re.findall(r"```sql\n(.+?)```", (ROOT / "docs" / "reference" / "history.md").read_text(), re.S)


def two_weeks(folder: Path) -> None:
    """Eight runs from Thursday to Thursday, each a millisecond slower than the one before, and one that was cut."""
    for number in range(8):
        started = f"2026-01-{number + 1:02d}T10:00:00+00:00"
        make_run(folder / f"run-{number}", np.full(400, 10.0 + number), wrong=2, started=started)
    cut = {"started": "2026-01-09T10:00:00+00:00", "interrupted": "stopped by hand"}
    make_run(folder / "cut", np.full(400, 500.0), failed=3, **cut)


def test_the_queries_of_the_documentation_answer_what_they_say(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    two_weeks(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    found = {query: duckdb.sql(query).fetchall() for query in queries()}
    trend, weeks, slowest, outcomes, mistaken = found.values()
    days = [(day, 100.0, 9.0 + day, "pass") for day in range(1, 9)]
    assert [(row[0].day, row[1], round(float(row[2]), 6), row[4]) for row in trend] == [*days, (9, 100.0, 500.0, "invalid")]
    # 1 January 2026 is a Thursday: its week began on 29 December and has four of the runs; the cut one is in neither.
    assert [(week.day, runs, round(p99_ms, 6)) for week, runs, p99_ms in weeks] == [(29, 4, 11.5), (5, 4, 15.5)]
    assert slowest == [("greet", 9 * 400 - 3, 500.0)]
    named = {(Path(name).parent.name, outcome): count for name, outcome, count in outcomes}
    assert len(named) == len(outcomes) == 9 * 2
    assert (named["run-7", "ok"], named["run-7", "wrong"], named["cut", "http_503"]) == (398, 2, 3)
    assert mistaken == [("hi", "greet", "greet", 16)]
