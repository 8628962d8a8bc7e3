"""The fold: what is read out of a run's parts beside its percentiles."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from chatload import arrival_spec, fold, runfolder, samples, traces
from chatload.corpus import Utterance

RATE, SECONDS = 100.0, 60
HEADER = {
    "scenario": "made up",
    "host": "http://127.0.0.1:1",
    "rate": RATE,
    "arrivals": "poisson",
    "seed": 1,
    "corpus": {"file": "f", "split": "all", "utterances": 1},
    "objective": "p99<1s,errors<5%",
    "warmup_s": 0.0,
    "run_time_s": float(SECONDS),
    "workers": 1,
    "edits": [],
    "model": None,
}


def arrivals(seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    count = generator.poisson(RATE * SECONDS)
    return np.sort(generator.uniform(0, SECONDS, count))


def finish(folder: Path, latency_s, intended_s=None, facts=True, header=None, gone_s=math.inf, rates=((0.0, RATE),)) -> dict:
    """A run folder whose latency is a function of the intended time, finished."""
    intended_s = arrivals() if intended_s is None else intended_s
    runfolder.create(folder, {**HEADER, **(header or {})}, [Utterance("hi", "greet", "")])
    parts = runfolder.Parts(folder)
    times = [(at_s, at_s + 1e-4, at_s + latency_s(at_s)) for at_s in intended_s.tolist()]
    rows = b"".join(
        samples.pack(*three, 0, 0, samples.OK if three[0] < gone_s else samples.CONNECT, 0.1, 1.0, 10) for three in times
    )
    parts.append(0, rows, ["greet"])
    if facts:
        cpu = [[float(second), 0.1 * second] for second in range(SECONDS)]
        parts.end(
            0, {"worker": 0, "part": 0, "rates": [list(rate) for rate in rates], "cpu": cpu, "ended_s": float(SECONDS)}
        )
    parts.close()
    return fold.finish(folder)


def noise(at_s: float) -> float:
    return 0.02 + 0.01 * ((at_s * 997.0) % 1)


def reasons(content: dict) -> str:
    return " ".join(content["verdict"]["reasons"])


def test_a_good_run_passes(tmp_path):
    content = finish(tmp_path / "run", noise)
    assert content["verdict"]["outcome"] == "pass", reasons(content)
    assert content["run"]["conduct"]["cpu_share"] == pytest.approx(0.1)
    assert not (tmp_path / "run" / "parts").exists()
    assert "PASS" in (tmp_path / "run" / "summary.md").read_text()


def test_the_summary_goes_to_the_page_of_a_github_step_once(tmp_path, monkeypatch):
    page = tmp_path / "step.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    finish(tmp_path / "run", noise)
    fold.show(tmp_path / "run")
    assert page.read_text() == "before\n" + (tmp_path / "run" / "summary.md").read_text()


def test_an_aborted_run_that_missed_its_objective_fails_although_its_queue_grew(tmp_path):
    growing = {"aborted": "p50>1s: 100 % of 400 arrivals", "objective": "p50<100ms"}
    content = finish(tmp_path / "run", lambda at_s: noise(at_s) + at_s / 10, header=growing)
    assert content["verdict"]["outcome"] == "fail", reasons(content)
    assert reasons(content).startswith("aborted: p50>1s")


def test_a_queue_that_grows_is_no_steady_state(tmp_path):
    content = finish(tmp_path / "run", lambda at_s: noise(at_s) + at_s / 100)
    assert content["verdict"]["outcome"] == "invalid"
    assert "the server cannot keep up" in reasons(content)


@pytest.mark.parametrize("gone_s", [0.0, 15.0, 30.0, 45.0])
def test_a_server_that_goes_away_fails_and_is_not_called_unsteady(tmp_path, gone_s):
    content = finish(tmp_path / "run", noise, gone_s=gone_s)
    assert content["verdict"]["outcome"] == "fail", reasons(content)
    assert content["summary"]["failed"] > 0


def test_a_server_that_warms_up_needs_a_longer_warm_up(tmp_path):
    content = finish(tmp_path / "run", lambda at_s: noise(at_s) * (5 if at_s < 15 else 1))
    assert content["verdict"]["outcome"] == "invalid"
    assert "raise --warmup" in reasons(content)


@pytest.mark.parametrize("every_s", [10.0, 20.0, 30.0])
def test_stalls_and_bursts_are_not_taken_for_warming_up(tmp_path, every_s):
    content = finish(tmp_path / "run", lambda at_s: noise(at_s) + max(0.5 - at_s % every_s, 0))
    assert "steady" not in reasons(content)
    assert "warm-up" not in reasons(content)


def test_arrivals_that_are_not_the_planned_process_are_found(tmp_path):
    even = np.arange(0, SECONDS, 1 / RATE)
    content = finish(tmp_path / "run", noise, intended_s=even)
    assert "the arrivals were not the planned process" in reasons(content)


def test_offering_less_than_planned_is_found(tmp_path):
    content = finish(tmp_path / "run", noise, header={"rate": 1.2 * RATE})
    assert "where the plan foresaw 7,200" in reasons(content)


def test_an_edited_rate_is_judged_by_what_it_was(tmp_path):
    content = finish(tmp_path / "run", noise, header={"rate": 5.0, "stream_rate": 1.0, "edits": [[1.0, 100]]})
    assert content["verdict"]["outcome"] == "pass", reasons(content)


def test_streams_that_no_process_has_are_missed_after_an_edit(tmp_path):
    content = finish(tmp_path / "run", noise, header={"rate": 5.0, "stream_rate": 1.0, "edits": [[1.0, 150]]})
    assert "where the plan foresaw" in reasons(content)
    assert content["run"]["conduct"]["expected"] == pytest.approx(1.5 * RATE * SECONDS, rel=0.02)


def test_streams_that_leave_at_the_end_are_not_missed(tmp_path):
    intended_s = arrivals()
    falling = ((0.0, 5.0), (1.0, RATE), (50.0, RATE / 2), (55.0, RATE / 4))
    kept = (intended_s < 50) | (np.arange(len(intended_s)) % 2 == 0) & (intended_s < 55)
    kept |= np.arange(len(intended_s)) % 4 == 0
    edits = {"rate": 5.0, "stream_rate": 1.0, "edits": [[1.0, 100]]}
    content = finish(tmp_path / "run", noise, intended_s=intended_s[kept], header=edits, rates=falling)
    assert content["verdict"]["outcome"] == "pass", reasons(content)


def test_a_worker_that_never_reported_its_end_is_lost(tmp_path):
    content = finish(tmp_path / "run", noise, header={"workers": 2})
    assert "1 worker(s) lost (one that never reported)" in reasons(content)


def test_a_cut_run_is_read_up_to_its_last_arrival(tmp_path):
    content = finish(tmp_path / "run", noise, facts=False, intended_s=arrivals()[:3_000])
    assert content["verdict"]["outcome"] == "invalid"
    assert "its processes were killed" in reasons(content)
    assert content["summary"]["planned"] == 2_999  # the window ends at the last arrival
    assert content["run"]["duration_s"] == pytest.approx(30, abs=2)


def test_labels_of_several_workers_get_one_numbering(tmp_path):
    folder = tmp_path / "run"
    runfolder.create(folder, HEADER, [Utterance("hi", "greet", ""), Utterance("bye", "part", "")])
    parts = runfolder.Parts(folder)
    for worker, labels in enumerate((["greet", "part", "odd"], ["greet", "part", "even", "odd"])):
        row = samples.pack(1.0, 1.0, 1.1, 1, len(labels) - 1, samples.WRONG, 0.1, 1.0, 10)
        parts.append(worker, row, labels)
    parts.close()
    found = runfolder.read_parts(folder)
    assert [found.labels[code] for code in found.rows["predicted"]] == ["odd", "odd"]
    assert found.worker.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no run.json"),
        ("{", "cannot be read"),
        ('{"schema": 99}', "has schema 99"),
        ("[]", "has schema None"),
    ],
)
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, text, message):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(runfolder.RunFolderError, match=message):
        fold.show(tmp_path)


def test_truncated_parts_are_refused_not_guessed(tmp_path):
    folder = tmp_path / "run"
    runfolder.create(folder, HEADER, [Utterance("hi", "greet", "")])
    (folder / "parts" / "corpus.json").write_text("[[")
    with pytest.raises(runfolder.RunFolderError, match="its parts cannot be read"):
        fold.show(folder)


BURSTS = "onoff:peak=5,on=10s,off=50s"


def dealt(parts: int) -> np.ndarray:
    """The arrivals of the first of some generator processes."""
    return np.concatenate(list(traces.part(arrival_spec.parse(BURSTS), RATE, 1, (0, parts), float(SECONDS))))


def test_a_dealt_run_is_held_against_its_own_count_and_not_against_a_steady_state(tmp_path):
    content = finish(
        tmp_path / "run", lambda at_s: noise(at_s) + at_s / 100, dealt(1), header={"arrivals": BURSTS, "parts": 1}
    )
    assert content["run"]["conduct"]["expected"] == content["summary"]["planned"] == len(dealt(1))
    assert abs(len(dealt(1)) - RATE * SECONDS) > 5 * (RATE * SECONDS) ** 0.5  # a Poisson count would be refused
    assert not content["run"]["conduct"]["poisson"]
    assert content["verdict"]["faults"] == []


def test_a_dealt_run_that_misses_arrivals_is_invalid(tmp_path):
    content = finish(tmp_path / "run", noise, dealt(1)[:-5], header={"arrivals": BURSTS, "parts": 1})
    assert content["verdict"]["outcome"] == "invalid"
    assert f"offered {len(dealt(1)) - 5:,} arrivals where the plan foresaw {len(dealt(1)):,}" in reasons(content)


def test_of_a_dealt_run_with_a_lost_process_the_part_of_the_other_is_expected(tmp_path):
    content = finish(tmp_path / "run", noise, dealt(2), header={"arrivals": BURSTS, "parts": 2, "workers": 2})
    end_s = content["run"]["duration_s"]
    assert content["run"]["conduct"]["expected"] == np.count_nonzero(dealt(2) < end_s)
    assert "1 worker(s) lost" in reasons(content)
    assert "offered" not in reasons(content)


def test_a_run_whose_trace_is_gone_says_so(tmp_path):
    header = {"arrivals": f"trace:file={tmp_path}/gone.csv", "parts": 1}
    with pytest.raises(runfolder.RunFolderError, match=r"cannot be counted: trace .*gone\.csv: cannot be read"):
        finish(tmp_path / "run", noise, header=header)


def test_a_process_that_came_too_late_for_its_part_does_not_end_the_window():
    header = {"arrivals": "gamma", "rate": RATE, "seed": 1, "workers": 2, "run_time_s": 10.0}
    facts = [{"ended_s": 9.5, "part": 0}, {"ended_s": 3.0, "part": None}]
    assert fold._end_s(header, facts, np.empty(0, dtype=samples.DTYPE)) == 9.5


def test_the_times_of_a_process_that_joined_later_move_to_the_others_clock(tmp_path):
    folder = tmp_path / "run"
    runfolder.create(folder, {**HEADER, "run_time_s": 10.0, "workers": 2}, [Utterance("hi", "greet", "")])
    parts = runfolder.Parts(folder)
    for worker, ended_s in ((0, 10.0), (1, 4.0)):
        times = np.arange(0.005, ended_s, 0.01)
        parts.append(
            worker, b"".join(samples.pack(at, at, at + 0.002, 0, 0, samples.OK, 0.1, 1.0, 9) for at in times), ["greet"]
        )
        began_s = {0: 0.05, 1: 6.05}[worker]
        facts = {"worker": worker, "part": None, "rates": [[0.0, 100.0]], "cpu": [], "ended_s": ended_s, "began_s": began_s}
        parts.end(worker, facts)
    parts.close()
    content = fold.finish(folder)
    found = runfolder.read_parquet(folder)
    late = found.rows[found.worker == 1]
    assert late["intended_s"].min() == pytest.approx(6.005)
    assert np.allclose(samples.latency_ms(late), 2.0)
    assert content["run"]["warmup_s"] + content["run"]["duration_s"] == pytest.approx(10.0)
    assert content["run"]["generators"][1]["rates"] == [[6.0, 100.0]]


def test_a_folder_that_cannot_be_finished_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["fold", str(tmp_path)])
    with pytest.raises(SystemExit, match="^2$"):
        fold.main()
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"chatload: {tmp_path} is not a run's folder: it has no run.json\n"
