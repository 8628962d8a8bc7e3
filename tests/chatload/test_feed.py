"""Feed: the watching process as its owner meets it."""

from __future__ import annotations

import json

import gevent
import numpy as np
import psutil

from chatload import feed
from tests.chatload.made_runs import make_run


def test_the_last_snapshot_of_a_run_stays(tmp_path):
    run = make_run(tmp_path / "run", np.full(1_000, 5.0))
    following = feed.Feed()
    assert following.latest == b""
    following.follow(run)
    with gevent.Timeout(60):
        while not following.latest:
            gevent.sleep(0.05)
    snapshot = json.loads(following.latest)
    assert (snapshot["state"], snapshot["run"]["id"]) == ("finished", "made-up")
    following.close()
    assert json.loads(following.latest) == snapshot


def test_closing_ends_the_process(tmp_path):
    going = tmp_path / "run"
    (going / "parts").mkdir(parents=True)
    before = set(psutil.Process().children())
    following = feed.Feed()
    following.follow(going)
    started = set(psutil.Process().children()) - before
    assert len(started) == 1
    following.close()
    assert psutil.wait_procs(started, timeout=30)[1] == []
