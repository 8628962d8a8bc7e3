"""The model alone under the arrivals of a run: what each utterance would have taken, had serving cost nothing.

    taskset -c 1 python -m benchmarks.unserved model_store/intent-minilm-cpu-tuned.mar results/RUN

One thread takes the run's utterances at their intended times, one after the other, and sleeps in between, so that queueing,
rests and lengths are those of the run and only the serving is missing. It wakes up 0.2 ms early and waits awake, so that
no lateness of its own counts as the model's. As in `make inprocess`, tokens are made beforehand.
Prints one JSON line: the median latency from the intended time in ms, the run's beside it, both after the warm-up.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from model.inprocess import load

EARLY_S = 0.0002


def replay(intended_s: Sequence[float], inputs: Sequence[Any], infer: Callable[[Any], object]) -> list[float]:
    """The latency of each arrival in seconds, from its intended time; ``intended_s`` counts from now and grows."""
    epoch_s = time.perf_counter()
    latencies_s = []
    for due_s, tokens in zip(intended_s, inputs, strict=True):
        rest_s = due_s - (time.perf_counter() - epoch_s) - EARLY_S
        if rest_s > 0:
            time.sleep(rest_s)
        while time.perf_counter() - epoch_s < due_s:
            pass
        infer(tokens)
        latencies_s.append(time.perf_counter() - epoch_s - due_s)
    return latencies_s


def main() -> None:
    """Measures the archive and the run named on the command line."""
    if len(sys.argv) != 3:
        sys.exit("benchmarks.unserved: name an archive and the folder of a run against it")
    archive, run = Path(sys.argv[1]), Path(sys.argv[2])
    header = json.loads((run / "run.json").read_text())
    rows = pq.read_table(run / "samples.parquet", columns=["intended_s", "utterance"]).sort_by("intended_s").to_pydict()
    with tempfile.TemporaryDirectory() as folder:
        model = load(archive, "cpu", Path(folder), threads=1)
        inputs = [model.tokenize(text) for text in rows["utterance"]]
        latencies_s = replay(rows["intended_s"], inputs, model.probabilities)
    warm = [late for due, late in zip(rows["intended_s"], latencies_s, strict=True) if due >= header["run"]["warmup_s"]]
    served_ms = header["summary"]["latency_ms"]["p50"]["value"]
    print(json.dumps({"unserved_ms": statistics.median(warm) * 1e3, "served_ms": served_ms}))


if __name__ == "__main__":
    main()
