"""Whole runs with sessions: what several processes send is the plan, and a slow answer does not move it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time

import gevent
import numpy as np
import pyarrow.parquet
import pytest

from benchmarks.stand_in import ANSWER
from chatload import dealing, generator, samples
from chatload.corpus import Utterance
from tests.chatload.runs import content

QUIET = ("--headless", "--warmup", "0s", "--objective", "p99<5s,errors<5%")
SCENARIO = "locustfiles/conversation.py"


def turns_of(folder) -> dict[str, np.ndarray]:
    """The columns of a run's samples, session by session, turn by turn."""
    table = pyarrow.parquet.read_table(folder / "samples.parquet").sort_by([("session", "ascending"), ("turn", "ascending")])
    return {name: table[name].to_numpy() for name in ("intended_s", "sent_s", "done_s", "session", "turn", "held_s")}


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_all_processes_together_send_every_turn_of_the_plan_once(stand_in, locust, processes):
    law = "turns=3,think=400ms"
    arguments = (*QUIET, "--host", stand_in("null"), "--rate", "100", "--sessions", law, "--run-time", "2s")
    done = locust.run(*arguments, *(("--processes", str(processes)) if processes > 1 else ()), scenario=SCENARIO)
    planned = np.concatenate(list(dealing.read("poisson", law, 100.0, 1).part(0, 1, 2.0)))
    planned = planned[np.lexsort((planned["turn"], planned["session"]))]
    sent, found = turns_of(locust.results), content(locust.results)
    assert len(planned) > 100
    assert all(np.array_equal(sent[name], planned[name]) for name in planned.dtype.names), done.stderr
    assert found["run"]["conduct"]["expected"] == len(planned)
    assert found["run"]["parts"] == processes
    assert not found["run"]["conduct"]["poisson"]
    assert sum(group["count"] for group in found["summary"]["by_turn"].values()) == len(planned)
    assert "latency by turn" in done.stdout
    assert not [reason for reason in found["verdict"]["reasons"] if "offered" in reason]


def stalling(since_s: float, for_s: float):
    """A script that holds all answers for ``for_s``, beginning ``since_s`` after the first request (the preflight's)."""
    began: list[float] = []

    def script(connection: socket.socket) -> None:
        while connection.recv(65_536):  # a request is one small packet on loopback
            began.append(time.monotonic())
            into_s = time.monotonic() - began[0] - since_s
            if 0 <= into_s < for_s:
                time.sleep(for_s - into_s)
            connection.sendall(ANSWER)

    return script


def test_a_stall_in_the_first_turn_shows_in_the_turns_after_it(scripted, locust):
    server = scripted(stalling(3.0, 1.5))
    law = "turns=4,turns_dist=constant,think=200ms,think_dist=constant"
    done = locust.run(
        *(*QUIET, "--host", f"http://127.0.0.1:{server.port}", "--rate", "40", "--sessions", law, "--run-time", "6s"),
        scenario=SCENARIO,
    )
    sent, found = turns_of(locust.results), content(locust.results)
    held = sent["held_s"] > 0
    assert set(sent["turn"][held]) == {2, 3, 4}, done.stderr
    # Intended times are the plan's, stall or not: 200 ms from turn to turn.
    follows = np.diff(sent["session"]) == 0
    assert np.diff(sent["intended_s"])[follows] == pytest.approx(0.2)
    # Nobody writes before the answer to the turn before came, and whoever was held wrote as soon as it did.
    assert (sent["sent_s"][1:] >= sent["done_s"][:-1])[follows].all()
    waited_s = sent["done_s"] - sent["intended_s"]
    assert (waited_s[held] >= sent["held_s"][held] - 1e-6).all()
    stuck = np.flatnonzero((sent["turn"] == 1) & (waited_s > 0.5))
    assert len(stuck) > 1
    for first in stuck:
        assert waited_s[first + 1] == pytest.approx(waited_s[first] - 0.2, abs=0.15)
        assert waited_s[first + 2] == pytest.approx(waited_s[first] - 0.4, abs=0.15)
    # The wait is latency, in every turn's group, and no lateness of the generator's.
    # A turn that meets no stall takes a millisecond.
    assert found["summary"]["by_turn"]["3"]["latency_ms"]["p90"]["value"] > 50
    lag_ms = (sent["sent_s"] - sent["intended_s"] - sent["held_s"])[held] * 1e3
    assert lag_ms.max() < sent["held_s"].max() * 1e3
    assert not [fault for fault in found["verdict"]["faults"] if "late" in fault]
    page = (locust.results / "report.html").read_text()
    assert "By turn of the session" in page
    assert '<th scope="col">held</th>' in page  # of the parts that the time of slow answers has
    assert "| turn | turns | p50, ms |" in (locust.results / "summary.md").read_text()


def test_turns_that_are_still_held_at_the_end_are_unfinished(scripted):
    server = scripted(stalling(0.0, 60.0))  # from the first request, however late its thread comes to read it
    asked = dealing.read("poisson", "turns=20,turns_dist=constant,think=100ms,think_dist=constant", 200.0, 1)
    reported: list[bytes] = []
    plan = generator.Plan(
        url=f"http://127.0.0.1:{server.port}",
        token_file="",
        tls=generator.Tls(),
        arrivals="poisson",
        seed=1,
        worker=0,
        timeout_s=0.4,
        max_in_flight=1_000,
        run_time_s=1.5,
        utterances=[Utterance("where is my order", "order_status", "")],
        dealt=asked.part(0, 1, 1.5),
        part=0,
        sessions=True,
    )
    playing = generator.Generator(plan, lambda rows, labels, calls: reported.append(rows), lambda pulse: None)
    playing.start()
    gevent.sleep(1.6)
    playing.stop()
    rows = samples.from_bytes(b"".join(reported))
    assert sorted(rows["intended_s"].tolist()) == np.concatenate(list(asked.part(0, 1, 1.5)))["intended_s"].tolist()
    assert samples.TIMEOUT in rows["outcome"]  # and each of them let the next turn go
    never = rows[np.isnan(rows["sent_s"])]
    assert len(never) > 0
    assert set(never["outcome"]) == {samples.UNFINISHED}
    assert (never["held_s"] > 0).all()


def test_a_mistake_is_refused_before_the_first_request(stand_in, locust):
    done = locust.run(*QUIET, "--host", stand_in("null"), "--sessions", "turns=none", "--run-time", "3s", scenario=SCENARIO)
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: --sessions 'turns=none': turns: 'none' is not a number")
    assert not locust.results.exists()


SHAPE = """
from locust import LoadTestShape
from chatload.locust_adapter import Stream

class Steps(Stream):
    sessions = "default"

class Rates(LoadTestShape):
    def tick(self):
        return (50, 50) if self.get_run_time() < 2 else None
"""


def test_a_load_shape_is_refused(stand_in, locust):
    scenario = locust.folder / "steps.py"
    scenario.write_text(SHAPE)
    done = locust.run(*QUIET, "--host", stand_in("null"), scenario=str(scenario))
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: --sessions plans the whole run at its start, so it cannot follow a load shape")


SLOW = """
import time
from chatload import dealing
from chatload.locust_adapter import Stream

class Slow(Stream):
    pass

planned = dealing.Dealing.part

def part(self, *arguments):
    time.sleep(3)  # as long as some ten thousand sessions a second take
    return planned(self, *arguments)

dealing.Dealing.part = part
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_a_plan_that_takes_long_to_make_does_not_shorten_the_run(stand_in, locust, processes):
    scenario, law = locust.folder / "slow.py", "turns=3,think=400ms"
    scenario.write_text(SLOW)
    arguments = (*QUIET, "--host", stand_in("null"), "--rate", "100", "--sessions", law, "--run-time", "3s")
    several = ("--processes", str(processes)) if processes > 1 else ()
    done = locust.run(*arguments, *several, scenario=str(scenario))
    assert content(locust.results)["run"]["duration_s"] == 3.0, done.stderr
    planned = np.concatenate(list(dealing.read("poisson", law, 100.0, 1).part(0, 1, 3.0)))
    assert np.array_equal(np.sort(turns_of(locust.results)["intended_s"]), np.sort(planned["intended_s"]))


LARGE = """
import itertools, resource, sys
from chatload import dealing, sessions
def resident_mib(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
dealt = dealing.read("poisson", "turns=3.2,turns_cv=0.8,think=24s,think_cv=1.5", 2_800.0, 1)
before_mib = resident_mib()
played = sessions.Timetable(dealt.part(0, 1, 3_600.0))
first_s = played.due_s
for _ in range(500_000): last_s = played.advance()
print(first_s, last_s, resident_mib() - before_mib)
"""


def test_ten_million_turns_are_planned_lazily():
    done = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True)
    first_s, last_s, grown_mib = map(float, done.stdout.split())
    assert first_s < 0.1
    assert 500_000 / last_s == pytest.approx(2_800, rel=0.05)
    assert grown_mib < 100
