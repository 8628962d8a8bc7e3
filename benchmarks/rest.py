"""What a rest costs the model: its time for an utterance back to back, after sleep, and after keeping its core busy.

    taskset -c 1 python -m benchmarks.rest model_store/intent-minilm-cpu-tuned.mar

No server and no arrivals. If waking up were what a rest costs, the model that spins meanwhile would be as fast as back to
back. Prints a Markdown table: medians of rounds in which the kinds of rest take turns.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks.engine import middle, processor
from benchmarks.generators import ROOT
from model.corpus import read_corpus
from model.inprocess import load

ROUNDS = 5
INFERENCES = 150
RESTS_S = (0.002, 0.006, 0.020)
CORPUS = ROOT / "corpus" / "support.tsv"


def spin(lasts_s: float) -> None:
    """Keep the core busy, without touching memory."""
    until_s = time.perf_counter() + lasts_s
    while time.perf_counter() < until_s:
        pass


def p50_ms(answer: Callable[[bytes], object], bodies: list[bytes], rest: Callable[[float], None], rest_s: float) -> float:
    """The median time of an answer in ms, each after a rest."""
    found = []
    for body in itertools.islice(itertools.cycle(bodies), INFERENCES):
        rest(rest_s)
        began_s = time.perf_counter()
        answer(body)
        found.append((time.perf_counter() - began_s) * 1e3)
    return statistics.median(found)


def main() -> None:
    """Measures the archive named on the command line."""
    if len(sys.argv) != 2:
        sys.exit("benchmarks.rest: name an archive, for example model_store/intent-minilm-cpu-tuned.mar")
    kinds: dict[str, tuple[Callable[[float], None], float]] = {"back to back": (spin, 0.0)}
    for rest_s in RESTS_S:
        kinds[f"after {rest_s * 1e3:g} ms of sleep"] = (time.sleep, rest_s)
        kinds[f"after {rest_s * 1e3:g} ms of spinning"] = (spin, rest_s)
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        answer = load(Path(sys.argv[1]), "cpu", Path(folder), threads=1).answer
        bodies = [json.dumps({"text": one.text}).encode() for one in read_corpus(CORPUS).test()[0]]
        p50_ms(answer, bodies, spin, 0.0)  # warms up
        for _ in range(ROUNDS):
            for kind, (rest, rest_s) in kinds.items():
                found[kind].append(p50_ms(answer, bodies, rest, rest_s))
    print(f"{date.today()}, {processor()}, medians of {ROUNDS} rounds (smallest to largest)\n")
    print("| an utterance | p50 ms |\n|---|---|")
    for kind, values in found.items():
        print(f"| {kind} | {middle(values)} |")


if __name__ == "__main__":
    main()
