"""Masters and workers: shapes, lost masters, lost workers, and the union of what several processes offer."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import msgpack
import numpy as np
import pyarrow.parquet
import pytest
import zmq
from scipy import stats

from chatload import fold, samples, workers
from tests.chatload.runs import BASICS, content, free_port, rows_of, wait_until

SHAPE = """
from locust import LoadTestShape
from chatload.locust_adapter import Stream

class Steps(Stream):
    corpus = "corpus/support.tsv"

class Rates(LoadTestShape):
    def tick(self):
        for until_s, users in ((4, 50), (8, 200), (12, 100)):
            if self.get_run_time() < until_s:
                return users, users
        return None
"""


def intended(folder: Path) -> np.ndarray:
    return np.sort(pyarrow.parquet.read_table(folder / "samples.parquet")["intended_s"].to_numpy())


def test_the_offered_rate_follows_a_shape_within_a_second(stand_in, locust):
    scenario = locust.folder / "steps.py"
    scenario.write_text(SHAPE)
    locust.run("--headless", "--host", stand_in("null"), "--warmup", "0s", scenario=str(scenario))
    arrivals = intended(locust.results)
    for start_s, end_s, rate in ((1.2, 4, 50), (5.2, 8, 200), (9.2, 12, 100)):
        count = np.count_nonzero((arrivals >= start_s) & (arrivals < end_s))
        planned = rate * (end_s - start_s)
        assert abs(count - planned) < 4 * planned**0.5, (start_s, count, planned)
    run = content(locust.results)["run"]
    assert [users for _, users in run["edits"]] == [200, 100]
    assert not any("offered" in reason for reason in content(locust.results)["verdict"]["reasons"])


def test_the_union_of_two_processes_is_the_planned_poisson_process(stand_in, locust):
    locust.run(*BASICS, "--host", stand_in("null"), "--rate", "400", "--run-time", "8s", "--processes", "2")
    arrivals = intended(locust.results)
    # Each process counts from its own start; on a busy machine its streams may take a while to come.
    spawned_s = max(fact["rates"][-1][0] for fact in content(locust.results)["run"]["generators"])
    assert spawned_s < 4
    steady = np.diff(arrivals[(arrivals > spawned_s) & (arrivals < 7.5)])
    assert stats.kstest(steady, "expon", args=(0, 1 / 400)).pvalue > 0.001
    assert not content(locust.results)["run"]["conduct"]["departs"]


def test_the_streams_of_a_lost_worker_move_to_the_others(stand_in, locust):
    process = locust.start(*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "16s", "--processes", "2")
    wait_until(lambda: rows_of(locust.results) > 200)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    assert locust.wait(process).returncode == 2
    arrivals = intended(locust.results)
    # Locust takes about four seconds to miss a worker; from then on, the rest offers the whole rate again.
    assert np.count_nonzero(arrivals > 13) == pytest.approx(300, abs=70)
    lost = content(locust.results)["run"]["conduct"]["lost"]
    assert len(lost) == 1
    assert "silent from" in lost[0]


def test_a_worker_that_joins_late_takes_its_share_and_the_rate_stays(stand_in, locust):
    port = str(free_port())
    to_master = ("--master-host", "127.0.0.1", "--master-port", port)
    plan = (*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "16s")
    master = locust.start(*plan, "--master", "--expect-workers", "1", "--master-bind-port", port)
    locust.start("--worker", *to_master)
    wait_until(lambda: rows_of(locust.results) > 200)
    locust.start("--worker", *to_master)
    locust.wait(master)
    found = content(locust.results)
    first, late = ([users for _, users in fact["rates"]] for fact in found["run"]["generators"])
    assert (max(first), first[-1], late[-1]) == (100, 50, 50)
    # While streams move, those that stop and those that start may be some milliseconds apart: less than a second's worth.
    assert len(intended(locust.results)) == pytest.approx(1_600, abs=4 * 1_600**0.5 + 100)
    assert not found["run"]["conduct"]["lost"]


def test_a_worker_takes_part_in_a_run_that_it_was_told_of_before_it_could_listen(stand_in, locust):
    with zmq.Context() as context, context.socket(zmq.ROUTER) as master:
        port = master.bind_to_random_port("tcp://127.0.0.1")
        master.setsockopt(zmq.RCVTIMEO, 20_000)
        locust.start("--worker", "--master-host", "127.0.0.1", "--master-port", str(port))

        def heard(wanted):
            for _ in range(30):  # a heartbeat a second, among others
                address, message = master.recv_multipart()
                kind, data, _ = msgpack.unpackb(message)
                if kind == wanted:
                    return address, data
            pytest.fail(f"no {wanted} came")

        address, _ = heard("client_ready")
        options = {"searching": False, "dealt_to": [0], "dealt_rate": 0.0, "stream_rate_exact": 20.0}
        spawn = {"timestamp": 1.0, "user_classes_count": {"Chatbot": 5}, "host": stand_in("null"), "stop_timeout": 0}
        # Locust lets listeners in only after the acknowledgement.
        for kind, data in (("spawn", {**spawn, "parsed_options": options}), ("ack", {"index": 3})):
            master.send_multipart([address, msgpack.packb((kind, data, address.decode()))])
        _, report = heard(workers.ROWS)
        assert report["worker"] == 3
        assert len(report["rows"]) >= samples.ROW.size


def test_a_killed_master_loses_at_most_the_last_moments(stand_in, locust):
    process = locust.start(*BASICS, "--host", stand_in("null"), "--rate", "200", "--run-time", "60s", "--processes", "2")
    wait_until(lambda: rows_of(locust.results) > 800)
    process.kill()
    locust.end()
    fold.show(locust.results)
    found = content(locust.results)
    assert found["verdict"]["outcome"] == "invalid"
    assert "its processes were killed" in found["verdict"]["reasons"][0]
    assert len(intended(locust.results)) >= 800
