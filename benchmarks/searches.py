"""Whether two capacity searches of one TorchServe, back to back, agree: the target is within 5 % of each other.

    python -m benchmarks.searches model_store/intent-minilm-cpu-tuned.mar [FOLDER]      up to 45 minutes

One worker on core 1, TorchServe's front end and the generator on core 0. Both searches ask one server, which is warmed up
once. FOLDER keeps the searches' folders (first, second). Needs wrk on the PATH. Prints a Markdown table.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine import processor
from benchmarks.generators import ROOT
from benchmarks.served import FRONT_CORE, Server, saturated, serving

OBJECTIVE = "p99<100ms,errors<1%"
LOWEST_RATE = 100
PROBE_TIME = "120s"  # of a minute each they would be too few samples for 3 % at 200/s
WARMUP = "5s"


def search(server: Server, results: Path) -> dict:
    """The content of capacity.json; raises RuntimeError where no capacity was found."""
    options = ["-f", "locustfiles/capacity.py", "--headless", "--only-summary", "--skip-log-setup", "--host", server.url]
    options += ["--token-file", server.token_file, "--rate", str(LOWEST_RATE), "--objective", OBJECTIVE]
    options += ["--probe-time", PROBE_TIME, "--warmup", WARMUP, "--results", str(results)]
    command = ["taskset", "-c", str(FRONT_CORE), sys.executable, "-m", "locust", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    file = results / "capacity.json"
    if done.returncode != 0 or not file.exists():
        raise RuntimeError(f"{results.name} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(file.read_text())


def row(name: str, found: dict, seconds: float, saturated_rate: float) -> str:
    """The row of a search: its answer, how it was found, and what wrk got out of the server right before it."""
    answer, full = found["answer"], found["saturation"]["throughput"]
    cells = [
        name,
        f"{answer['rate']:.1f}/s ({answer['low']:.1f} to {answer['high']:.1f})",
        f"{len(found['probes'])}",
        f"{seconds / 60:.0f} min",
        "more than offered" if full is None else f"{full:.1f}/s",
        f"{saturated_rate:.0f}/s",
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Serves the archive named on the command line, and searches twice."""
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("benchmarks.searches: name one archive, for example model_store/intent-minilm-cpu-tuned.mar")
    print(f"{date.today()}, {processor()}, {OBJECTIVE} from {LOWEST_RATE}/s on, probes of up to {PROBE_TIME}\n")
    print("| search | capacity | probes | time | full load | wrk before it, 4 connections |")
    print("|---|---|---|---|---|---|", flush=True)
    rates = []
    with tempfile.TemporaryDirectory() as name, serving(sys.argv[1]) as server:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else name).resolve()
        for turn in tqdm(("first", "second"), desc="searches", disable=None):
            closed_loop, start = saturated(server), time.monotonic()
            found = search(server, folder / turn)
            rates.append(found["answer"]["rate"])
            print(row(turn, found, time.monotonic() - start, closed_loop), flush=True)
    print(f"\n{abs(rates[1] - rates[0]) / statistics.mean(rates):.1%} of their mean apart")


if __name__ == "__main__":
    main()
