"""What TorchServe costs: a no-op handler under its default configuration, under ours, and under ours without each line.

    python -m benchmarks.serving            everything, about a quarter of an hour
    python -m benchmarks.serving "ours, one worker" "default, one worker"

Needs wrk on the PATH and two cores, which server and wrk share. Prints a Markdown table: requests per second with eight
connections, and the median latency with one; medians of rounds in which the configurations take turns.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine import middle, processor
from model import HANDLERS
from model.archive import EPOCH, MANIFEST
from model.java import java_home
from model.ports import HOST, choose_ports
from model.process import end_group
from model.server import CONFIG, LOG_CONFIG, Server, java_pid, launch, wait_until_ready

NAME = "intent"
ROUNDS = 3
SECONDS = 4
WARM_UPS = 2  # of as many seconds: Java compiles while it runs
QUIET, READ_AHEAD = HANDLERS / "worker_log.py", HANDLERS / "worker_socket.py"
HANDLER = '''class Nothing:
    """Answers without looking."""

    def initialize(self, ctx):
        {quiet}
        {read_ahead}

    def handle(self, data, ctx):
        return [b"{{}}"] * len(data)
'''
# Settings whose effect is measured by leaving them out.
TUNED = (
    "decode_input_request",
    "number_of_netty_threads",
    "netty_client_threads",
    "prefer_direct_buffer",
    "metrics_mode",
    "disable_system_metrics",
    "vmargs",
)


def settings() -> dict[str, str]:
    """config.properties by key."""
    lines = [line for line in CONFIG.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@dataclass(frozen=True)
class Variant:
    """A TorchServe: its configuration, and whether its logs, its Python's logs and its worker's socket are as ours."""

    config: dict[str, str]
    quiet: bool = True
    quiet_python: bool = True
    read_ahead: bool = True

    @property
    def workers(self) -> int:
        return int(self.config.get("default_workers_per_model", 0)) or os.cpu_count() or 1


def variants() -> dict[str, Variant]:
    """The configurations by name."""
    ours = settings()
    default = {"enable_envvars_config": "true"}
    one_worker = {"default_workers_per_model": "1"}
    per_core = {name: value for name, value in ours.items() if name not in one_worker}
    found = {
        "ours, one worker": Variant(ours),
        "default, one worker": Variant({**default, **one_worker}, False, False, False),
        "ours, a worker per core": Variant(per_core),
        "default, a worker per core": Variant(default, False, False, False),
        "without model/log4j2.xml": Variant(ours, quiet=False),
        "without handlers/worker_log.py": Variant(ours, quiet_python=False),
        "without handlers/worker_socket.py": Variant(ours, read_ahead=False),
    }
    for key in TUNED:
        found[f"without {key}"] = Variant({name: value for name, value in ours.items() if name != key})
    parts = ours["vmargs"].split()
    for part in (" ".join(parts[:2]), " ".join(parts[2:4]), parts[-1]):
        left = " ".join(ours["vmargs"].replace(part, "").split())
        found[f"without {part}"] = Variant({**ours, "vmargs": left})
    return found


@contextlib.contextmanager
def served(variant: Variant) -> Iterator[tuple[str, str]]:
    """TorchServe with the no-op handler; gives its URL and token."""
    with tempfile.TemporaryDirectory(prefix="noop-", dir="/tmp") as name:
        folder = Path(name)
        for part in ("state/logs", "temp", "store"):
            (folder / part).mkdir(parents=True)
        archive, config = folder / "store" / "noop.mar", folder / "config.properties"
        write_noop(archive, variant)
        config.write_text("".join(f"{key}={value}\n" for key, value in variant.config.items()))
        server = Server(
            {NAME: archive},
            folder / "state",
            folder / "temp",
            java_home(os.environ),
            choose_ports(0),
            variant.workers,
            1,
            os.sched_getaffinity(0),
            config=config,
            log_config=LOG_CONFIG if variant.quiet else None,
        )
        process = launch(server)
        try:
            wait_until_ready(server, process, 120)
            token = json.loads((server.state / "key_file.json").read_text())["inference"]["key"]
            yield f"http://{HOST}:{server.ports['inference']}/predictions/{NAME}", token
        finally:
            end_group(process.pid, f"TEMP={server.temp}", java_pid(server.temp), 20.0)


def write_noop(path: Path, variant: Variant) -> None:
    """An archive whose handler does nothing."""
    manifest = {"runtime": "python", "model": {"modelName": NAME, "modelVersion": "1.0", "handler": "nothing.py"}}
    quiet = (
        "__import__('worker_log').quiet(ctx)" if variant.quiet_python else "__import__('logging').getLogger().setLevel(20)"
    )
    read_ahead = "__import__('worker_socket').read_ahead(lambda: None)" if variant.read_ahead else "pass"
    with zipfile.ZipFile(path, "w") as mar:
        mar.writestr(zipfile.ZipInfo(MANIFEST, EPOCH), json.dumps(manifest))
        mar.writestr(zipfile.ZipInfo("nothing.py", EPOCH), HANDLER.format(quiet=quiet, read_ahead=read_ahead))
        for module in (QUIET, READ_AHEAD):
            mar.writestr(zipfile.ZipInfo(module.name, EPOCH), module.read_text())


def wrk(url: str, token: str, connections: int) -> tuple[float, float]:
    """(requests per second, median latency in ms) of a closed loop; the token goes through a file, not the command line."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method="POST"\nwrk.body=[[{{"text": "hello"}}]]\nwrk.headers["Authorization"]="Bearer {token}"\n')
        script.flush()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--latency", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    median = re.search(r"50%\s+([\d.]+)(us|ms|s)", text)
    assert rate is not None
    assert median is not None
    assert "Non-2xx" not in text, text
    return float(rate[1]), float(median[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[median[2]]


def main() -> None:
    """Measures the configurations named on the command line, or all."""
    if not shutil.which("wrk"):
        sys.exit("benchmarks.serving: wrk is not on the PATH; install it (Debian: apt-get install wrk)")
    every = variants()
    chosen = sys.argv[1:] or list(every)
    unknown = [name for name in chosen if name not in every]
    if unknown:
        sys.exit(f"benchmarks.serving: no configuration called {unknown[0]!r}: choose from {', '.join(every)}")
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    medians: dict[str, list[float]] = {name: [] for name in chosen}
    for name in tqdm([name for _ in range(ROUNDS) for name in chosen], disable=None):
        with served(every[name]) as (url, token):
            for _ in range(WARM_UPS):
                wrk(url, token, 8)
            rates[name].append(wrk(url, token, 8)[0])
            medians[name].append(wrk(url, token, 1)[1])
    print(f"{date.today()}, {processor()}, medians of {ROUNDS} rounds (smallest to largest)\n")
    print("| configuration | requests/s, 8 connections | of ours | p50 ms, 1 connection |\n|---|---|---|---|")
    base = statistics.median(rates["ours, one worker"]) if "ours, one worker" in rates else float("nan")
    for name in chosen:
        share = statistics.median(rates[name]) / base
        print(f"| {name} | {middle(rates[name], '{:,.0f}')} | {share:.2f} | {middle(medians[name], '{:.3f}')} |")


if __name__ == "__main__":
    main()
