"""The front door's own logic: which server a target asks, and which it stops. Python and Locust are stand-ins that note."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Notes what it was asked, and does of it what the Makefile needs: run code, name an archive, start a server or refuse to.
PYTHON = f"""#!/bin/bash
[ "$1" = -c ] && exec {sys.executable} "$@"
echo "python $*" >> asked.txt
case "$*" in
  *"model build"*--check*) ;;
  *"model build"*) echo model_store/made.mar ;;
  *"serve start"*--check*) ;;
  *"serve start"*)
    [ -e refuse ] && exit 2
    [ -e slow ] && {{ touch starting; sleep 60; }}
    state="${{@: -1}}"; for word in "$@"; do [ "$last" = --state ] && state="$word"; last="$word"; done
    mkdir -p "$state"; cp served.json "$state/server.json" ;;
esac
"""
LOCUST = """#!/bin/bash
case "$*" in *--check*) exit 0 ;; esac
{ printf 'locust'; printf ' [%s]' "$@"; echo; } >> asked.txt
while [ $# -gt 0 ]; do [ "$1" = --results ] && { mkdir -p "$2"; touch "$2/samples.parquet"; }; shift; done
[ ! -e missed ]
"""
# Settings and flags of a make around the tests are none of theirs.
ALONE = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
SERVED = {"url": "http://127.0.0.1:5", "token_file": "the/server.json"}


@pytest.fixture
def house(tmp_path) -> Path:
    """A copy of the Makefile, whose environment is ready, and what a started server would leave."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "locustfiles").mkdir()
    (tmp_path / "locustfiles" / "chatbot.py").touch()
    (tmp_path / "made.mar").touch()
    (tmp_path / "served.json").write_text(json.dumps(SERVED))
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, script in {"python": PYTHON, "locust": LOCUST, "chatload": "#!/bin/bash\n"}.items():
        (programs / name).write_text(script)
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    return tmp_path


def make(house: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = ["make", *arguments, "PYTHON=.venv/bin/python"]
    return subprocess.run(command, cwd=house, capture_output=True, text=True, check=False, env=ALONE)


def asked(house: Path, what: str) -> list[str]:
    """The lines of those calls in which ``what`` occurs."""
    notes = house / "asked.txt"
    return [line for line in notes.read_text().splitlines() if what in line] if notes.exists() else []


def started_here(house: Path, state: str = ".serve") -> None:
    (house / state).mkdir(parents=True)
    (house / state / "server.json").write_text(json.dumps(SERVED))


@pytest.mark.parametrize(
    ("settings", "host", "token_file"),
    [
        ((), "http://127.0.0.1:5", "the/server.json"),
        (("TOKEN_FILE=mine.txt",), "http://127.0.0.1:5", "mine.txt"),
        (("HOST=http://10.0.0.7",), "http://10.0.0.7", ""),
        (("HOST=http://10.0.0.7", "TOKEN_FILE=mine.txt"), "http://10.0.0.7", "mine.txt"),
    ],
)
@pytest.mark.parametrize("target", ["load", "capacity", "ui"])
def test_a_load_goes_to_the_server_and_with_the_token_that_were_named_else_to_the_one_started_here(
    house, target, settings, host, token_file
):
    (house / "locustfiles" / "capacity.py").touch()
    started_here(house)
    done = make(house, target, *settings)
    assert done.returncode == 0, done.stderr
    (call,) = asked(house, "locust")
    assert f" [--host] [{host}] [--token-file] [{token_file}]" in call


@pytest.mark.parametrize("setting", ["RATE=40", "DURATION=60s"])
def test_a_search_refuses_what_it_would_not_use(house, setting):
    (house / ".venv" / ".ready").unlink()  # it is said before an environment is built
    done = make(house, "capacity", setting)
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: a search finds the rate and ends by itself: FROM= is the lowest rate")
    assert asked(house, "locust") == []


def test_a_load_without_any_server_is_one_line(house):
    done = make(house, "load")
    assert done.returncode == 2
    assert done.stderr.startswith("chatload: no server was started here: start one")
    assert asked(house, "locust") == []


@pytest.mark.parametrize("missed", [False, True])
def test_a_bench_stops_its_server_whatever_the_verdict(house, missed):
    if missed:
        (house / "missed").touch()
    assert (make(house, "bench").returncode != 0) == missed
    assert "[--host] [http://127.0.0.1:5] [--token-file] [.serve/bench/key_file.json]" in asked(house, "locust")[0]
    assert asked(house, "serve")[-1] == "python -m model serve stop --state .serve/bench"


def test_a_bench_whose_start_is_refused_stops_nobody_s_server(house):
    (house / "refuse").touch()
    assert make(house, "bench").returncode == 2
    assert asked(house, "locust") == asked(house, "serve stop") == []


def test_a_bench_that_is_ended_while_its_server_starts_stops_it(house):
    (house / "slow").touch()
    command = ["make", "bench", "PYTHON=.venv/bin/python"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    running = subprocess.Popen(command, cwd=house, env=ALONE, process_group=0, **quiet)
    until = time.monotonic() + 20
    while not (house / "starting").exists() and time.monotonic() < until:
        time.sleep(0.02)
    assert (house / "starting").exists()
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=20) != 0
    assert asked(house, "serve")[-1] == "python -m model serve stop --state .serve/bench"
    assert asked(house, "locust") == []


def test_ab_stops_each_server_that_it_started(house):
    done = make(house, "ab", "A_ARCHIVE=made.mar", "B_HOST=http://10.0.0.7", "ROUNDS=2")
    assert done.returncode == 0, done.stderr
    assert len(asked(house, "locust")) == 4
    assert [line.split()[4] for line in asked(house, "python -m model serve")] == ["start", "stop"] * 2


def test_ab_whose_start_is_refused_stops_nobody_s_server(house):
    started_here(house, ".serve/ab")
    (house / "refuse").touch()
    assert make(house, "ab", "A_ARCHIVE=made.mar", "B_ARCHIVE=made.mar").returncode == 2
    assert asked(house, "locust") == asked(house, "serve stop") == []
