"""make ab: real runs against two servers in turns, and their comparison."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from tests.chatload.runs import content

ROOT = Path(__file__).resolve().parents[2]


def make(*arguments: str) -> subprocess.CompletedProcess:
    # The environment that runs this test serves: -o says that it need not be built anew.
    command = ["make", "--old-file", ".venv/.ready", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)


def test_a_and_b_run_in_turns_with_the_seeds_of_their_rounds(stand_in, tmp_path):
    hosts = f"A_HOST={stand_in('null')}", f"B_HOST={stand_in('md1', '--service', '0.02')}"
    out = tmp_path / "ab"
    options = ("ROUNDS=2", "RATE=60", "DURATION=1s", "WARMUP=0s", "SEED=7", "OBJECTIVE=p50<1s", f"RESULTS={out}")
    told = f"COMPARE_OPTIONS=--metrics p50 --anyway --json {out}/ab.json"
    done = make("ab", *hosts, *options, told)
    assert done.returncode == 0, done.stderr
    runs = sorted((content(out / side / number)["run"] for side in "AB" for number in "12"), key=lambda run: run["started"])
    assert [run["host"] for run in runs] == [host.partition("=")[2] for host in hosts] * 2
    assert [run["seed"] for run in runs] == [7, 7, 8, 8]
    found = json.loads((out / "ab.json").read_text())["comparisons"][0]["findings"]["p50"]
    assert found["change"]["value"] > 5


def test_a_server_that_is_not_named_is_one_clear_line():
    done = make("ab", "A_HOST=http://127.0.0.1:1")
    assert done.returncode == 2
    assert "name two servers: make ab A_HOST=http://... B_HOST=http://..." in done.stderr
