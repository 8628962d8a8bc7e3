"""The load generators that are compared: each run as a process on a core, and what it says of itself.

wrk2 is found at $WRK2, MLPerf LoadGen in the Python at $LOADGEN_PYTHON.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GENERATOR_CORE, SERVER_CORE = "0", "1"
LUA = 'wrk.method="POST"\nwrk.body=[[{"text": "change company address"}]]\nwrk.headers["Content-Type"]="application/json"\n'


def chatload(url: str, rate: float, seconds: int, *options: str, core: str = GENERATOR_CORE) -> dict:
    """The run.json of a chatload run of ``seconds`` after 2 s of warm-up; streams of 20/s, so that Locust has few users."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "run"
        command = ["taskset", "-c", core, sys.executable, "-m", "locust", "-f", "locustfiles/chatbot.py", "--headless"]
        command += ["--skip-log-setup", "--only-summary", "--host", url, "--rate", str(rate), "--stream-rate", "20"]
        command += ["--warmup", "2s", "--run-time", f"{seconds + 2}s", "--results", str(results), *options]
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return json.loads((results / "run.json").read_text())


def two_processes(url: str, rate: float, seconds: int) -> dict:
    """The run.json of a run like chatload's of two workers, a core each, and a master that may use either."""
    with tempfile.TemporaryDirectory() as folder:
        results, port = Path(folder) / "run", free_port()
        locust = [sys.executable, "-m", "locust", "-f", "locustfiles/chatbot.py", "--headless", "--skip-log-setup"]
        shared = ["--host", url, "--rate", str(rate), "--stream-rate", "20", "--results", str(results)]
        shared += ["--warmup", "2s", "--run-time", f"{seconds + 2}s"]
        workers = [
            subprocess.Popen(
                ["taskset", "-c", core, *locust, "--worker", "--master-port", port], cwd=ROOT, stderr=subprocess.DEVNULL
            )
            for core in (GENERATOR_CORE, SERVER_CORE)
        ]
        master = ["--master", "--expect-workers", "2", "--master-bind-port", port, "--only-summary", *shared]
        both = f"{GENERATOR_CORE},{SERVER_CORE}"
        subprocess.run(["taskset", "-c", both, *locust, *master], cwd=ROOT, capture_output=True, text=True, check=False)
        for worker in workers:  # one that was too busy to answer its master is not told that the run is over
            worker.kill()
            worker.wait()
        return json.loads((results / "run.json").read_text())


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def fast_http_user(url: str, users: int, seconds: int, each_per_s: float = 0, check: bool = False) -> dict:
    """The JSON line of benchmarks/fast_http_user.py."""
    command = ["taskset", "-c", GENERATOR_CORE, sys.executable, "-m", "locust", "-f", "benchmarks/fast_http_user.py"]
    command += ["--headless", "--skip-log-setup", "--only-summary", "--host", url, "--users", str(users)]
    command += ["--spawn-rate", str(users), "--run-time", f"{seconds}s"]
    environment = {**os.environ, "EACH_USER_PER_S": str(each_per_s), "CHECK": str(int(check))}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))


def wrk(url: str, seconds: int, connections: int, rate: float | None = None, core: str = GENERATOR_CORE) -> dict:
    """Requests per second, and p50 and p99 in ms, of wrk, or of wrk2 at a rate."""
    program = os.environ["WRK2"] if rate else "wrk"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA)
        script.flush()
        command = ["taskset", "-c", core, program, "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
        command += [f"-R{rate:g}"] if rate else []
        command += ["-s", script.name, f"{url}/predictions/intent"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {
        name: re.search(rf"^\s*{share}(?:\.0+)?%\s+([\d.]+)(us|ms|s)", text, re.M)
        for name, share in (("p50", 50), ("p99", 99))
    }
    scale = {"us": 1e-3, "ms": 1.0, "s": 1e3}
    times = {f"{name}_ms": float(match[1]) * scale[match[2]] for name, match in found.items() if match}
    served = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert served is not None
    return {"rate": float(served[1]), **times}


def loadgen(url: str, rate: float, seconds: int) -> dict:
    """The JSON line of benchmarks/loadgen.py."""
    command = [
        "taskset",
        "-c",
        GENERATOR_CORE,
        os.environ["LOADGEN_PYTHON"],
        "benchmarks/loadgen.py",
        url,
        str(rate),
        str(seconds),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
