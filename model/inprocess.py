"""The model alone, in process, batch size 1: the ceiling against which serving it is judged.

One utterance after the other, as fast as the model answers: a closed loop, without server or arrivals. Timed is what the
hardware does for one utterance: padding, inference, probabilities. Tokens are made beforehand.
"""

from __future__ import annotations

import csv
import json
import os
import platform
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from itertools import cycle
from pathlib import Path
from typing import Any, Callable

from model.archive import read_facts
from model.parity import model_class
from model.problem import UserProblem
from model.processor import processor


@dataclass(frozen=True)
class Window:
    """One interval: inferences since the start; inferences per second and latencies within the interval."""

    pid: int
    inferences: int
    throughput: float
    p50_ms: float
    p90_ms: float


@dataclass(frozen=True)
class Wish:
    """What to measure: the model in an archive on some CPU threads, asked the texts of a corpus in turn, for how long."""

    archive: Path
    corpus: str
    texts: list[str]
    threads: int
    duration_s: float
    interval_s: float
    results: Path


def measure(wish: Wish) -> Path:
    """Measure, print a line per interval and a summary, and return the CSV; a JSON of the summary lies beside it.

    Raises UserProblem for an archive that cannot be read; a handler whose device is missing raises what it does in a server.
    """
    try:
        facts = read_facts(wish.archive)
    except (OSError, ValueError) as error:
        raise UserProblem(f"--archive {wish.archive}: {error}; build it first: make model") from error
    hardware = processor()
    print(f"{facts['name']} ({facts['version']}) for {facts['target']}, recipe {facts['recipe']}: {facts['engine']}, "
          f"{facts['precision']}, threads {wish.threads}")  # fmt: skip
    print(f"{hardware['processor']}: {', '.join(hardware['instructions']) or 'no vector instructions known'}")
    path = wish.results / f"inprocess-{facts['target']}-{facts['recipe']}-{facts['name']}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model = load(wish.archive, facts["target"], Path(folder), wish.threads)
        inputs = cycle([model.tokenize(text) for text in wish.texts])
        latencies_s: list[float] = []
        record(windows(model.probabilities, inputs, wish.duration_s, wish.interval_s, latencies_s), path)
    found = {**described(facts, wish), **summary(latencies_s)}
    path.with_suffix(".json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(
        f"{found['inferences']:,} inferences, {found['throughput']:,.1f}/s, "
        f"p50 {found['p50_ms']:.3f} ms, p90 {found['p90_ms']:.3f} ms ({path})"
    )
    return path


def load(archive: Path, target: str, folder: Path, threads: int) -> Any:
    """Return the model of an archive, unpacked into a folder, as the target's own handler loads it."""
    with zipfile.ZipFile(archive) as mar:
        mar.extractall(folder, [name for name in mar.namelist() if not name.endswith(".py")])
    return model_class(target)(folder, threads)


def windows(
    infer: Callable[[Any], Any],
    inputs: Iterator[Any],
    duration_s: float,
    interval_s: float,
    latencies_s: list[float],
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Window]:
    """Infer for ``duration_s`` and yield a window every ``interval_s``; all latencies are appended to ``latencies_s``."""
    started_s = since_s = now_s = clock()
    while now_s - started_s < duration_s:
        counted = len(latencies_s)
        until_s = min(since_s + interval_s, started_s + duration_s)
        while now_s < until_s:
            infer(next(inputs))
            done_s = clock()
            latencies_s.append(done_s - now_s)
            now_s = done_s
        ordered = sorted(latencies_s[counted:])
        throughput = len(ordered) / (now_s - since_s)
        yield Window(os.getpid(), len(latencies_s), throughput, percentile_ms(ordered, 50), percentile_ms(ordered, 90))
        # What printing the window took belongs to none.
        since_s = now_s = clock()


def percentile_ms(ordered_s: list[float], percent: int) -> float:
    """Return the smallest of these latencies in order, in ms, that at least ``percent`` of them do not exceed."""
    return ordered_s[max(-(-percent * len(ordered_s) // 100), 1) - 1] * 1e3


def record(found: Iterable[Window], path: Path) -> None:
    """Write windows to a CSV and to the console as they come: whoever stops it keeps what is there."""
    names = [field.name for field in fields(Window)]
    print("  ".join(f"{name:>11}" for name in names))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for window in found:
            numbers = [f"{window.throughput:.3f}", f"{window.p50_ms:.4f}", f"{window.p90_ms:.4f}"]
            row = [str(window.pid), str(window.inferences), *numbers]
            writer.writerow(row)
            file.flush()
            print("  ".join(f"{cell:>11}" for cell in row), flush=True)


def summary(latencies_s: list[float]) -> dict[str, Any]:
    """Return a whole measurement in four numbers."""
    ordered = sorted(latencies_s)
    return {
        "inferences": len(ordered),
        "throughput": len(ordered) / sum(ordered),
        "p50_ms": percentile_ms(ordered, 50),
        "p90_ms": percentile_ms(ordered, 90),
    }


def described(facts: dict[str, Any], wish: Wish) -> dict[str, Any]:
    """Return what was measured, where and when."""
    return {
        "schema": 1,
        "target": facts["target"],
        "recipe": facts["recipe"],
        "model": facts["name"],
        "version": facts["version"],
        "engine": facts["engine"],
        "precision": facts["precision"],
        "threads": wish.threads,
        "corpus": wish.corpus,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "duration_s": wish.duration_s,
        "versions": facts["versions"],
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), **processor()},
    }
