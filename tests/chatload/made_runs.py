"""Finished run folders made of given latencies, by the same fold that ends a real run."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np

from chatload import fold, runfolder, samples
from chatload.corpus import Utterance

RATE = 100.0
HEADER = {
    "id": "made-up",
    "started": "2026-01-01T00:00:00+00:00",
    "scenario": "made up",
    "host": "http://127.0.0.1:1",
    "rate": RATE,
    "arrivals": "constant",
    "seed": 1,
    "corpus": {"file": "corpus/support.tsv", "split": "test", "utterances": 1},
    "objective": "p99<1s,errors<5%",
    "warmup_s": 0.0,
    "workers": 1,
    "edits": [],
    "model": {"name": "minilm", "version": "f5ae90f151ea"},
    "versions": {},
    "hardware": {},
}


def make_run(folder: Path, latency_ms: np.ndarray, wrong: int = 0, failed: int = 0, **header: object) -> Path:
    """A finished run at RATE, one arrival a latency: the first ``wrong`` answered wrongly, the last ``failed`` failed."""
    count = len(latency_ms)
    seconds = count / RATE
    runfolder.create(folder, {**HEADER, "run_time_s": seconds, **header}, [Utterance("hi", "greet", "")])
    outcomes = [samples.WRONG] * wrong + [samples.OK] * (count - wrong - failed) + [503] * failed
    rows = b"".join(
        samples.pack(serial / RATE, serial / RATE + 1e-4, serial / RATE + ms / 1e3, 0, 0, outcome, 0.1, 1.0, 10)
        for serial, (ms, outcome) in enumerate(zip(latency_ms.tolist(), outcomes, strict=True))
    )
    parts = runfolder.Parts(folder)
    parts.append(0, rows, ["greet"])
    cpu = [[float(second), 0.1 * second] for second in range(int(seconds))]
    parts.end(0, {"worker": 0, "rates": [[0.0, RATE]], "cpu": cpu, "ended_s": seconds})
    parts.close()
    # The reports take most of the time, and whoever compares runs does not read them.
    with mock.patch.object(fold, "_write_reports", create=True):
        fold.finish(folder)
    return folder
