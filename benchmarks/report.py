"""How long a report takes to build, and how large its page is, by the number of samples.

    python -m benchmarks.report [SAMPLES ...]        default: 10,000, 100,000 and 1,000,000

Makes a finished run of that many samples (Poisson arrivals at 200/s against benchmarks.stand_in's stall law, 2 % failed) and
builds its reports from the folder, as ``make report`` does, in a process of its own. Prints a Markdown table.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from chatload import runfolder, samples
from chatload.corpus import Utterance

COUNTS = (10_000, 100_000, 1_000_000)
RATE = 200.0
UTTERANCES = [Utterance(f"{'word ' * (number % 30)}{number}", f"intent {number % 34}", "") for number in range(490)]


def rows(count: int, generator: np.random.Generator) -> np.ndarray:
    """So many answered samples, every fiftieth of them failed."""
    found = np.zeros(count, samples.DTYPE)
    intended_s = np.cumsum(generator.exponential(1 / RATE, count))
    found["intended_s"], found["sent_s"] = intended_s, intended_s + 1e-4
    found["done_s"] = intended_s + 2e-4 + np.maximum(0.5 - intended_s % 10, 0) + generator.exponential(0.005, count)
    found["utterance"] = generator.integers(0, len(UTTERANCES), count)
    found["predicted"] = found["utterance"] % 34
    found["tokenize_ms"], found["infer_ms"], found["bytes"] = 0.02, 3.0, 200
    found["outcome"][::50], found["predicted"][::50] = 503, samples.NOT_PREDICTED
    return found


def make(folder: Path, count: int) -> None:
    """A run folder of so many samples that nobody has finished yet."""
    found = rows(count, np.random.default_rng(1))
    seconds = float(found["intended_s"][-1])
    header = {
        "id": "made-up",
        "started": "2026-01-01T00:00:00+00:00",
        "scenario": "chatbot",
        "host": "http://127.0.0.1:1",
        "rate": RATE,
        "arrivals": "poisson",
        "seed": 1,
        "corpus": {"file": "made-up.tsv", "split": "test", "utterances": len(UTTERANCES)},
        "objective": "p99<250ms,errors<1%",
        "warmup_s": 5.0,
        "run_time_s": seconds,
        "workers": 1,
        "edits": [],
        "versions": {},
        "hardware": {},
        "model": {"name": "stand-in", "version": "1"},
    }
    runfolder.create(folder, header, UTTERANCES)
    parts = runfolder.Parts(folder)
    parts.append(0, found.tobytes(), [f"intent {number}" for number in range(34)])
    cpu = [[float(second), 0.1 * second] for second in range(int(seconds))]
    parts.end(0, {"worker": 0, "rates": [[0.0, RATE]], "cpu": cpu, "ended_s": seconds})
    parts.close()


def report(folder: Path) -> float:
    """Seconds that ``chatload report`` takes, the start of Python among them."""
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-m", "chatload", "report", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began_s


def main() -> None:
    """Prints the table."""
    counts = [int(text) for text in sys.argv[1:]] or COUNTS
    print("| samples | finished in, s | report built again in, s | report.html, MB |\n|---|---|---|---|")
    for count in counts:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "run"
            make(folder, count)
            finished_s, again_s = report(folder), report(folder)
            size = (folder / "report.html").stat().st_size / 1e6
        print(f"| {count:,} | {finished_s:.1f} | {again_s:.1f} | {size:.2f} |", flush=True)


if __name__ == "__main__":
    main()
