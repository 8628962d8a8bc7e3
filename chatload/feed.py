"""Feed: the latest snapshot of a run, from a ``chatload watch`` process beside the one that generates its load.

A process of its own, since sorting and judging samples between two arrivals would make the second one late.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gevent
from gevent import subprocess


class Feed:
    """Follows one run at a time; ``latest`` is its last snapshot (docs/reference/live.md) as JSON, empty before any."""

    def __init__(self) -> None:
        self.latest = b""
        self._process: subprocess.Popen | None = None

    def follow(self, folder: Path) -> None:
        """From now on, the run in ``folder``, until it is finished."""
        self.close()
        self.latest = b""
        command = [sys.executable, "-m", "chatload", "watch", str(folder)]
        # A session of its own: Ctrl-C is for Locust, whose end then ends the watching.
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        gevent.spawn(self._read, self._process)

    def _read(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            if process is self._process:
                self.latest = line.rstrip()
        process.wait()

    def close(self) -> None:
        """Stops following. The latest snapshot stays."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._process = None
