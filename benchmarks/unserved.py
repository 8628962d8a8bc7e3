"""The model alone under given arrivals: what each utterance would have taken, had serving cost nothing.

    taskset -c 1 python -m benchmarks.unserved model_store/intent-minilm-cpu-tuned.mar

Each line of standard input is a JSON list of [intended time in s, text]; the answer is a JSON list of latencies in s. One
thread takes the utterances at their intended times, one after the other, and sleeps in between, so that queueing, rests and
lengths are those of the arrivals and only the serving is missing. It wakes up 0.2 ms early and waits awake, so that no
lateness of its own counts as the model's. As in `make inprocess`, tokens are made beforehand. benchmarks/light.py asks it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    """Replays what standard input brings on the archive named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("benchmarks.unserved: name an archive, for example model_store/intent-minilm-cpu-tuned.mar")
    with tempfile.TemporaryDirectory() as folder:
        model = load(Path(sys.argv[1]), "cpu", Path(folder), threads=1)
        for line in sys.stdin:
            arrivals = json.loads(line)
            inputs = [model.tokenize(text) for _, text in arrivals]
            print(json.dumps(replay([due_s for due_s, _ in arrivals], inputs, model.probabilities)), flush=True)


if __name__ == "__main__":
    main()
