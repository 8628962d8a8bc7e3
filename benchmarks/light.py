"""What serving adds to the model's latency under a light load, in blocks of 5 s that take turns.

    taskset -c 0 python -m benchmarks.light URL TOKEN_FILE ARCHIVE RATE SECONDS

A generator sends Poisson arrivals to the server for 5 s; then a process on the worker's core puts the same arrivals through
the model of the archive itself (benchmarks/unserved.py) while the server is idle; and so on, until each has had that many
seconds. A run and a replay of 40 s each differ by more than serving adds where the machine's pace wanders; 5 s follow it.
Prints one JSON line: the median latencies from the intended time in ms, served and unserved, without the first block.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

import gevent
import numpy as np

from benchmarks.generators import ROOT
from chatload import corpus, generator, samples

BLOCK_S = 5.0
WORKER_CORE = 1
CORPUS = ROOT / "corpus" / "support.tsv"


def plan_of(url: str, token_file: str, utterances: list[corpus.Utterance], block: int) -> generator.Plan:
    """The plan of a block: other arrivals in each."""
    return generator.Plan(
        url=url,
        token_file=token_file,
        tls=generator.Tls(),
        arrivals="poisson",
        seed=1,
        worker=block,
        timeout_s=10.0,
        max_in_flight=1_000,
        run_time_s=BLOCK_S,
        utterances=utterances,
    )


def served(plan: generator.Plan, rate: float) -> np.ndarray:
    """The samples of a block, in the order of their intended times.

    Raises RuntimeError where an arrival was not answered, or none was sent.
    """
    reported: list[bytes] = []
    playing = generator.Generator(plan, lambda rows, labels, calls: reported.append(rows), lambda pulse: None)
    playing.start()
    playing.set_streams(1, rate)
    gevent.sleep(BLOCK_S)
    playing.stop()
    rows = samples.from_bytes(b"".join(reported))
    failed = np.count_nonzero(~samples.answered(rows))
    if failed or not len(rows):
        raise RuntimeError(f"{failed} of {len(rows)} arrivals were not answered")
    return rows[np.argsort(rows["intended_s"])]


class Unserved:
    """A process on the worker's core that puts arrivals through the model of an archive."""

    def __init__(self, archive: str) -> None:
        command = ["taskset", "-c", str(WORKER_CORE), sys.executable, "-m", "benchmarks.unserved", archive]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def replay_ms(self, arrivals: list[tuple[float, str]]) -> list[float]:
        """The latency of each of (intended time in s, text)."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arrivals) + "\n")
        self._process.stdin.flush()
        return [latency_s * 1e3 for latency_s in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        self._process.communicate()


def compare(url: str, token_file: str, archive: str, rate: float, seconds: float) -> dict[str, float]:
    """The medians of both in ms."""
    _, utterances = corpus.choose_split(corpus.parse(CORPUS.read_text(), CORPUS.name))
    with_ms: list[float] = []
    without_ms: list[float] = []
    unserved = Unserved(archive)
    try:
        unserved.replay_ms([])  # answered once its model is loaded, which would take the worker's core from the first block
        for block in range(1 + round(seconds / BLOCK_S)):
            rows = served(plan_of(url, token_file, utterances, block), rate)
            texts = [utterances[number].text for number in rows["utterance"]]
            again_ms = unserved.replay_ms(list(zip(rows["intended_s"].tolist(), texts, strict=True)))
            if block > 0:  # the first wakes both up
                with_ms += ((rows["done_s"] - rows["intended_s"]) * 1e3).tolist()
                without_ms += again_ms
    finally:
        unserved.close()
    return {"served_ms": statistics.median(with_ms), "unserved_ms": statistics.median(without_ms)}


def main() -> None:
    """Measures what the command line names."""
    if len(sys.argv) != 6:
        sys.exit("benchmarks.light: name the server's URL, its token file, an archive, a rate and seconds")
    url, token_file, archive, rate, seconds = sys.argv[1:]
    print(json.dumps(compare(url, token_file, str(Path(archive).resolve()), float(rate), float(seconds))))


if __name__ == "__main__":
    main()
