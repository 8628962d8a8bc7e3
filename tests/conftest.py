"""What every test begins with, and the server that tests of more than one package ask."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A shell's background jobs ignore interrupts, and so does what they start: tests that interrupt would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def stand_in() -> Iterator[Callable[..., str]]:
    """Starts a stand-in server (benchmarks/stand_in.py) with arguments; returns its URL. ``stand_in.kill()`` kills all."""
    started: list[subprocess.Popen] = []

    def start(*arguments: str) -> str:
        command = [sys.executable, "-m", "benchmarks.stand_in", *arguments]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process.stdout.readline().strip()

    def kill() -> None:
        for process in started:
            process.kill()

    start.kill = kill  # type: ignore[attr-defined]
    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
