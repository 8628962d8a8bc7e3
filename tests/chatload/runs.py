"""What tests of whole runs share: options, and looks at a run that goes on."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

from chatload import runfolder, samples

BASICS = ("--headless", "--warmup", "1s", "--objective", "p99<400ms,errors<5%")


def content(folder: Path) -> dict:
    """The content of a run's run.json."""
    return runfolder.read_json(folder)


def rows_of(folder: Path) -> int:
    """How many rows a running run has on disk."""
    return sum(path.stat().st_size for path in (folder / "parts").glob("*.rows")) // samples.ROW.size


def wait_until(happened: Callable[[], bool], within_s: float = 20.0) -> None:
    """Returns when something has happened; fails when it does not in time."""
    deadline_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.05)


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
