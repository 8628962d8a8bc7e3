"""Live: snapshots of runs that go on, against the run.json that the same samples end in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from chatload import live, runfolder, samples
from chatload.corpus import Utterance
from tests.chatload.made_runs import HEADER
from tests.chatload.runs import BASICS, content, rows_of, wait_until
from tests.chatload.simulated import LABELS, UTTERANCES, fail, poisson_s, rows

RATE = 200.0


class Going:
    """A run folder that grows as a generator's reports make it grow; ``clock`` is the run's own time."""

    def __init__(self, folder: Path, workers: int = 1, **header: object) -> None:
        self.folder = folder
        self.now_s = 0.0
        self._told: dict[int, float] = {}
        wanted = {"rate": RATE, "arrivals": "poisson", "warmup_s": 2.0, "run_time_s": 30.0, "workers": workers}
        self.header = {**HEADER, **wanted, **header}
        runfolder.create(folder, self.header, UTTERANCES)
        self.parts = runfolder.Parts(folder)
        self.watch = live.Watch(folder, lambda: self.now_s)

    def report(self, found: np.ndarray, now_s: float, worker: int = 0) -> None:
        """What a worker hands over until ``now_s``: the arrivals that are done, and a pulse."""
        since_s, self._told[worker], self.now_s = self._told.get(worker, 0.0), now_s, now_s
        over_s = np.where(np.isnan(found["done_s"]), found["intended_s"], found["done_s"])
        self.parts.append(worker, found[(over_s >= since_s) & (over_s < now_s)].tobytes(), LABELS)
        out = found[(found["intended_s"] < now_s) & (over_s >= now_s)]
        complete_s = float(out["intended_s"].min()) if len(out) else now_s
        pulse = {"worker": worker, "part": 0, "now_s": now_s, "complete_s": complete_s, "in_flight": len(out)}
        rates = [] if since_s else [[0.0, self.header["rate"] / self.header["workers"]]]
        self.parts.beat(worker, {**pulse, "rates": rates, "cpu": [[now_s, 0.2 * now_s]]})

    def end(self, seconds: float) -> None:
        facts = {"worker": 0, "part": 0, "rates": [[0.0, RATE]], "ended_s": seconds}
        self.parts.end(0, {**facts, "cpu": [[s, 0.2 * s] for s in range(int(seconds))]})


def answers(seconds: float = 30, mean_s: float = 0.02) -> np.ndarray:
    intended_s = poisson_s(RATE, seconds)
    return rows(intended_s, np.random.default_rng(3).exponential(mean_s, len(intended_s)))


def test_at_the_end_a_snapshot_says_what_run_json_says(tmp_path):
    found = fail(answers(), np.arange(6_000 * 2)[: len(answers())] % 50 == 7)
    going = Going(tmp_path / "run")
    for second in range(1, 31):
        going.report(found, second)
        going.watch.snapshot()
    going.report(found, 40.0)
    going.end(30.0)
    last = going.watch.snapshot()
    subprocess.run([sys.executable, "-m", "chatload", "report", str(going.folder)], check=True, stdout=subprocess.DEVNULL)
    ended, finished = content(going.folder), going.watch.snapshot()
    assert (last["state"], finished["state"]) == ("running", "finished")
    assert finished["summary"] == ended["summary"] == last["summary"]
    assert finished["verdict"] == ended["verdict"]
    assert last["verdict"]["reasons"] == ended["verdict"]["reasons"]
    assert finished["timeline"] == last["timeline"]
    assert finished["where"].keys() == last["where"].keys() >= {"lag", "tokenize", "infer"}
    for name, part in last["where"].items():
        assert finished["where"][name] == pytest.approx(part)
    assert finished["health"]["lamp"] == last["health"]["lamp"]
    assert last["health"]["cpu_share"] == pytest.approx(0.2)
    assert last["outcomes"] == ended["summary"]["outcomes"]
    assert last["outcomes"]["http_503"] > 0


def test_what_is_still_out_is_not_taken_for_fast(tmp_path):
    """From 10 s on the server answers nothing for 5 s: a second later the fast answers are old, and say so."""
    found = answers(mean_s=0.01)
    stuck = (found["intended_s"] >= 10) & (found["intended_s"] < 15)
    found["done_s"][stuck] = 15.0 + 1e-3
    going = Going(tmp_path / "run")
    for second in range(1, 15):
        going.report(found, second)
        early = going.watch.snapshot()
    assert early["at_s"] == 10
    assert early["now"] == {"at_s": 14.0, "in_flight": np.count_nonzero(stuck & (found["intended_s"] < 14))}
    assert early["summary"]["latency_ms"]["max"]["value"] < 1_000
    for second in (15, 16):
        going.report(found, second)
        later = going.watch.snapshot()
    assert later["at_s"] >= 15
    assert later["summary"]["latency_ms"]["p90"]["value"] > 1_000
    assert later["timeline"]["in_flight"][13] == np.count_nonzero(stuck & (found["intended_s"] < 14))


def test_a_run_warms_up_is_open_and_is_decided(tmp_path):
    found = answers()
    going = Going(tmp_path / "run", objective="p99<1s,errors<5%")
    outcomes = []
    for second in range(1, 31):
        going.report(found, second)
        snapshot = going.watch.snapshot()
        outcomes.append((snapshot["state"], snapshot["verdict"]["outcome"]))
        assert json.loads(json.dumps(snapshot, allow_nan=False)) == snapshot
        if second == 3:
            assert {clause["answer"] for clause in snapshot["verdict"]["objective"]} == {"not decided yet"}
    assert outcomes[0] == ("warming up", "not decided yet")
    assert outcomes[3] == ("running", "not decided yet")
    assert outcomes[-1] == ("running", "pass")


def test_a_silent_worker_is_lost_and_the_others_go_on(tmp_path):
    found = answers()
    going = Going(tmp_path / "run", workers=2)
    for second in range(1, 31):
        going.report(found[::2], second, worker=0)
        if second < 8:
            going.report(found[1::2], second, worker=1)
        snapshot = going.watch.snapshot()
        if second == 7:
            assert (snapshot["health"]["lamp"], snapshot["health"]["workers"]) == ("good", 2)
    assert snapshot["at_s"] >= 29
    assert snapshot["health"]["lamp"] == "bad"
    assert snapshot["health"]["workers"] == 1
    assert snapshot["health"]["lost"] == [
        f"number 1, silent from {found[1::2]['intended_s'][found[1::2]['done_s'] < 7][-1]:.1f} s"
    ]
    assert snapshot["verdict"]["outcome"] == "invalid"


def test_nothing_is_said_of_a_run_whose_workers_have_not_all_begun(tmp_path):
    going = Going(tmp_path / "run", workers=2)
    going.report(answers(), 3.0)
    assert going.watch.snapshot()["at_s"] == 0
    going.report(answers(), 3.0, worker=1)
    assert going.watch.snapshot()["at_s"] > 0


def test_beyond_its_most_rows_counts_stay_exact_and_percentiles_close(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "_MOST_ROWS", 2_000)
    found = fail(answers(), poisson_flags())
    going = Going(tmp_path / "run")
    for second in range(1, 31):
        going.report(found, second)
        snapshot = going.watch.snapshot()
    end_s = snapshot["at_s"]
    inside = found[(found["intended_s"] >= 2) & (found["intended_s"] < end_s)]
    summary = snapshot["summary"]
    assert snapshot["judged"]["share"] == 0.25
    assert summary["planned"] == len(inside)
    assert summary["failed"] == np.count_nonzero(~samples.answered(inside)) > 0
    assert summary["errors"]["value"] == pytest.approx(summary["failed"] / summary["planned"])
    done_s = found["done_s"][samples.answered(found)]
    assert summary["throughput"]["value"] == pytest.approx(np.count_nonzero((done_s >= 2) & (done_s < end_s)) / (end_s - 2))
    p90 = summary["latency_ms"]["p90"]
    truth_ms = np.sort(samples.latency_ms(inside))[math.ceil(0.9 * len(inside)) - 1]
    assert p90["low"] < truth_ms < p90["high"]
    assert not snapshot["verdict"]["faults"]


def poisson_flags() -> np.ndarray:
    return np.random.default_rng(5).random(len(answers())) < 0.02


def test_edits_are_marks(tmp_path):
    going = Going(tmp_path / "run")
    runfolder.write_json(going.folder, {**going.header, "edits": [[12.5, 400]]}, None, None)
    assert going.watch.snapshot()["marks"] == [{"at_s": 12.5, "users": 400}]


def test_rows_of_half_written_reports_wait_for_their_rest(tmp_path):
    folder = tmp_path / "run"
    runfolder.create(folder, {**HEADER, "run_time_s": 1.0}, [Utterance("hi", "greet", "")])
    parts, tail = runfolder.Parts(folder), runfolder.Tail(folder)
    data = answers()[:3].tobytes()
    half = samples.ROW.size * 3 // 2
    parts.append(0, data[:half], LABELS)
    assert len(tail.rows().rows) == 1
    parts.append(0, data[half:], LABELS)
    assert tail.rows().rows.tobytes() == data[samples.ROW.size :]
    assert not len(tail.rows().rows)


def test_a_real_run_is_watched_to_its_end(stand_in, locust):
    process = locust.start(*BASICS, "--host", stand_in("null"), "--rate", "200", "--run-time", "6s", "--processes", "2")
    wait_until(lambda: rows_of(locust.results) > 0)
    command = [sys.executable, "-m", "chatload", "watch", str(locust.results)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    locust.wait(process)
    snapshots = [json.loads(line) for line in told.stdout.splitlines()]
    states = [snapshot["state"] for snapshot in snapshots]
    assert states == sorted(states, key=["warming up", "running", "finished"].index)
    assert {"running", "finished"} <= set(states)
    assert snapshots[-1]["summary"] == content(locust.results)["summary"]
    running = [snapshot for snapshot in snapshots if snapshot["state"] == "running"]
    assert running[-1]["summary"]["planned"] > 0
    assert running[-1]["health"]["workers"] == 2
    assert 0 < snapshots[-1]["health"]["cpu_share"] < 1
