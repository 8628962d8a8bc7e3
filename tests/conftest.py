"""What every test begins with, and the server that tests of more than one package ask."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parents[1]

# How long an example takes says more about the machine's other work than about the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell's background jobs ignore interrupts, and so does what they start: tests that interrupt would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class StandIns:
    """Starts a stand-in server (benchmarks/stand_in.py) with arguments at each call; returns its URL."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen] = []

    def __call__(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "benchmarks.stand_in", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        self._started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def kill(self) -> None:
        for process in self._started:
            process.kill()

    def close(self) -> None:
        self.kill()
        for process in self._started:
            process.communicate()


@pytest.fixture
def stand_in() -> Iterator[StandIns]:
    """Stand-in servers, ended with the test."""
    servers = StandIns()
    yield servers
    servers.close()
