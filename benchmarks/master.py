"""The master measured: a real Locust master, and simulated workers that report to it as chatload's generators do.

    python -m benchmarks.master --workers 200 --rate 20000 --seconds 30

The master is pinned to core 0, the simulated workers to core 1. Says what share of its core the master used, and whether
every row that was reported is in its run folder.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gevent
import psutil
from locust import __version__
from locust.rpc import Message, zmqrpc

from benchmarks.engine import stand_in
from benchmarks.generators import ROOT
from chatload import samples
from chatload.generator import Pulse

_REPORT_S = 0.25
_PULSE_S = 1.0


class SimulatedWorker:
    """Speaks Locust's and chatload's protocol; its samples are made up."""

    def __init__(self, port: int, number: int, rate: float) -> None:
        self.node = f"simulated_{number}"
        self.number = number
        self.rate = rate
        self.reported = 0
        self.running = False
        self.client = zmqrpc.Client("127.0.0.1", port, self.node)
        self.send("client_ready", __version__)
        gevent.spawn(self._listen)
        gevent.spawn(self._beat)

    def send(self, kind: str, data: object = None) -> None:
        self.client.send(Message(kind, data, self.node))

    def _beat(self) -> None:
        while True:
            state = "running" if self.running else "ready"
            self.send("heartbeat", {"state": state, "current_cpu_usage": 1.0, "current_memory_usage": 1})
            gevent.sleep(1)

    def _listen(self) -> None:
        while True:
            message = self.client.recv()
            if message.type == "spawn" and not self.running:
                self.users = message.data["user_classes_count"]
                self.running = True
                self.send("spawning")
                self.send("spawning_complete", {"user_classes_count": self.users, "user_count": sum(self.users.values())})
                gevent.spawn(self._report)
            elif message.type == "chatload_stop":
                self.running = False
                cut = time.perf_counter() - self.epoch_s
                facts = {"worker": self.number, "rates": [[0.0, self.rate]], "cpu": [], "ended_s": cut}
                self.send("chatload_end", facts)

    def _report(self) -> None:
        self.epoch_s, beaten_s = time.perf_counter(), 0.0
        while self.running:
            now_s = time.perf_counter() - self.epoch_s
            due = int(now_s * self.rate) - self.reported
            rows = b"".join(samples.pack(now_s, now_s, now_s + 0.01, 0, 0, 0, 0.1, 1.0, 100) for _ in range(due))
            self.send("chatload_rows", {"worker": self.number, "rows": rows, "labels": ["greet"]})
            self.reported += due
            if now_s - beaten_s >= _PULSE_S:
                rates = [] if beaten_s else [(0.0, self.rate)]
                beaten_s = now_s
                self.send("chatload_pulse", Pulse(self.number, None, now_s, now_s, 0, rates, []).as_json())
            gevent.sleep(_REPORT_S)


def free_port() -> int:
    """A port on loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def main() -> None:
    """Runs the benchmark and prints one line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.master", description=__doc__)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--rate", type=float, default=20_000, help="samples per second of all workers together")
    parser.add_argument("--seconds", type=int, default=30)
    options = parser.parse_args()
    port = free_port()
    with stand_in("null") as url, tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "run"
        command = ["taskset", "-c", "0", sys.executable, "-m", "locust", "-f", "locustfiles/chatbot.py", "--headless"]
        command += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port), "--skip-log-setup"]
        command += ["--expect-workers", str(options.workers), "--host", url, "--rate", str(options.rate)]
        command += ["--stream-rate", "20", "--run-time", f"{options.seconds}s", "--warmup", "1s", "--results", str(results)]
        master = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        os.sched_setaffinity(0, {1})
        gevent.sleep(2)
        share = options.rate / options.workers
        workers = [SimulatedWorker(port, number, share) for number in range(options.workers)]
        process = psutil.Process(master.pid)
        while not all(worker.running for worker in workers) and master.poll() is None:
            gevent.sleep(0.05)
        gevent.sleep(3)
        before, before_s = process.cpu_times(), time.perf_counter()
        gevent.sleep(options.seconds - 6)
        after, after_s = process.cpu_times(), time.perf_counter()
        used = (after.user + after.system - before.user - before.system) / (after_s - before_s)
        while master.poll() is None:
            gevent.sleep(0.1)
        reported = sum(worker.reported for worker in workers)
        outcomes = json.loads((results / "run.json").read_text())
        kept = samples_in(results)
        print(
            f"{options.workers} workers, {options.rate:,.0f} samples/s: the master used {used:.1%} of a core, "
            f"kept {kept:,} of {reported:,} samples, lost workers: {len(outcomes['run']['conduct']['lost'])}"
        )


def samples_in(results: Path) -> int:
    """How many rows samples.parquet has."""
    import pyarrow.parquet

    return pyarrow.parquet.read_metadata(results / "samples.parquet").num_rows


if __name__ == "__main__":
    main()
