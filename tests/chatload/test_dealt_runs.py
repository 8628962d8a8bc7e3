"""Whole runs of dealt timetables: what several processes send is the plan."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet
import pytest

from tests.chatload.runs import content

QUIET = ("--headless", "--warmup", "0s", "--objective", "p99<5s,errors<5%")


def intended_s(folder) -> np.ndarray:
    return np.sort(pyarrow.parquet.read_table(folder / "samples.parquet")["intended_s"].to_numpy())


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_trace_is_sent_once_by_all_processes_together(stand_in, locust, processes):
    offsets_s = np.cumsum(np.random.default_rng(1).exponential(0.01, size=260))
    offsets_s -= offsets_s[0]
    path = locust.folder / "trace.csv"
    path.write_text("time\n" + "".join(f"{offset_s!r}\n" for offset_s in offsets_s.tolist()))
    arguments = (*QUIET, "--host", stand_in("null"), "--arrivals", f"trace:file={path}", "--run-time", "2s")
    done = locust.run(*arguments, *(("--processes", str(processes)) if processes > 1 else ()))
    planned = offsets_s[offsets_s < 2]
    found = content(locust.results)
    assert len(planned) > 150
    assert intended_s(locust.results) == pytest.approx(planned, abs=1e-3), done.stderr
    assert found["run"]["conduct"]["expected"] == len(planned)
    assert found["run"]["rate"] == pytest.approx(len(planned) / 2)
    assert found["run"]["parts"] == processes
    assert not [reason for reason in found["verdict"]["reasons"] if "offered" in reason]


def test_a_file_that_is_not_there_is_refused_before_the_first_request(stand_in, locust):
    done = locust.run(*QUIET, "--host", stand_in("null"), "--arrivals", "trace:file=nowhere.csv", "--run-time", "3s")
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: trace nowhere.csv: cannot be read")
    assert not locust.results.exists()


SHAPE = """
from locust import LoadTestShape
from chatload.locust_adapter import Stream

class Steps(Stream):
    arrivals = "gamma:cv=3"

class Rates(LoadTestShape):
    def tick(self):
        return (50, 50) if self.get_run_time() < 2 else None
"""


def test_a_load_shape_is_refused_with_a_plan_that_cannot_follow_it(stand_in, locust):
    scenario = locust.folder / "steps.py"
    scenario.write_text(SHAPE)
    done = locust.run(*QUIET, "--host", stand_in("null"), scenario=str(scenario))
    assert done.returncode == 2
    assert done.stderr.startswith(
        "chatload: --arrivals gamma plans the whole run at its start, so it cannot follow a load shape"
    )
