"""Sides: reads what is compared: a run's folder, a folder of repeated runs, or the CSV of an in-process benchmark."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from chatload import faults, objective, runfolder, runs
from chatload.compare import Samples, Side
from chatload.units import format_duration

_IN_PROCESS_SCHEMA = 1
_IN_PROCESS_COLUMNS = ["pid", "inferences", "throughput", "p50_ms", "p90_ms"]


class SideError(ValueError):
    """Something that cannot be read to be compared; the message names it, what is wrong and what to do."""


def read(path: Path) -> Side:
    """The side at ``path``. Raises SideError, runs.RunsError or runfolder.RunFolderError."""
    if path.suffix == ".csv":
        return _read_in_process(path)
    folders = runs.folders(path)
    if folders == [path]:
        return _read_run(path)
    read = [_read_run(folder) for folder in folders]
    for folder, run in zip(folders, read, strict=True):
        if run.conditions != read[0].conditions:
            raise SideError(
                f"{path} holds runs of different kinds: {folder.name} differs from {folders[0].name} in conditions"
            )
    found = tuple(f"{folder.name}: {fault}" for folder, run in zip(folders, read, strict=True) for fault in run.faults)
    samples = tuple(sample for run in read for sample in run.runs)
    return Side(str(path), f"{len(read)} runs; {read[0].about}", read[0].conditions, samples, faults=found)


def _read_run(folder: Path) -> Side:
    content = runs.read_finished(folder)
    try:
        run, summary = content["run"], content["summary"]
        samples = _read_samples(folder, run["warmup_s"], run["warmup_s"] + run["duration_s"])
        count, planned = len(samples.latency_ms), summary["planned"]
        side = Side(str(folder), _about(run, count), _conditions(run), (samples,), faults=faults.of(content))
    except (KeyError, TypeError, AttributeError, objective.ObjectiveError) as error:
        raise runfolder.RunFolderError(f"{folder / 'run.json'} is not as chatload writes it ({error!r})") from error
    if count != planned:
        raise runfolder.RunFolderError(
            f"{folder}: samples.parquet has {count:,} arrivals where run.json counts {planned:,}: it is not of this run"
        )
    return side


def _read_samples(folder: Path, start_s: float, end_s: float) -> Samples:
    """The measured window of a run. Raises runfolder.RunFolderError when samples.parquet cannot be read."""
    import pyarrow as pa
    from pyarrow import parquet

    path = folder / "samples.parquet"
    try:
        table = parquet.read_table(path, columns=["intended_s", "done_s", "outcome", "intent"])
    except (OSError, pa.ArrowException) as error:
        raise runfolder.RunFolderError(f"{path} cannot be read ({str(error).splitlines()[0]})") from error
    intended_s, done_s = (table[name].to_numpy() for name in ("intended_s", "done_s"))
    ok, wrong = (_equal(table["outcome"], name) for name in ("ok", "wrong"))
    answered = ok | wrong
    served = int(np.count_nonzero(answered & (done_s >= start_s) & (done_s < end_s)))
    inside = np.flatnonzero((intended_s >= start_s) & (intended_s < end_s))
    order = inside[np.argsort(intended_s[inside], kind="stable")]
    latency_ms = np.where(answered, (done_s - intended_s) * 1e3, np.inf)[order]
    checked = order[(answered & table["intent"].is_valid().to_numpy())[order]]
    return Samples(latency_ms, served, end_s - start_s, ok[checked])


def _equal(column: Any, name: str) -> np.ndarray:
    from pyarrow import compute

    return compute.equal(column.cast("string"), name).to_numpy()


def _conditions(run: dict) -> dict[str, str]:
    corpus, model = run["corpus"], run["model"]
    return {
        "measured": "a served run",
        "corpus": f"{corpus['file']} (split {corpus['split']}, {corpus['utterances']} utterances)",
        "model": model["name"] if model else "unknown",
        "objective": ",".join(sorted(clause.text for clause in objective.parse(run["objective"]))),
        "rate": f"{run['rate']:g}/s",
        "arrivals": run["arrivals"],
        "calls": ", ".join(_call(name, others) for name, others in run.get("calls", {}).items()) or "one",
    }


def _call(name: str, others: list[str]) -> str:
    return f"{name} after {' and '.join(others)}" if others else name


def _about(run: dict, count: int) -> str:
    served = f"{run['model']['name']} {run['model']['version']}" if run["model"] else "model unknown"
    return (
        f"{served} at {run['host']}; {run['arrivals']} {run['rate']:g}/s, "
        f"{count:,} arrivals in {format_duration(run['duration_s'])}, seed {run['seed']}"
    )


def _read_in_process(path: Path) -> Side:
    about = _read_in_process_header(path.with_suffix(".json"))
    try:
        with path.open(newline="") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise SideError(f"{path} cannot be read: {error.strerror}") from error
    if not rows or rows[0] != _IN_PROCESS_COLUMNS:
        raise SideError(
            f"{path} is not an in-process benchmark's CSV: its first line is not {','.join(_IN_PROCESS_COLUMNS)}"
        )
    windows = _windows(path, rows[1:])
    return Side(
        str(path),
        f"{about['model']} for {about['target']}, recipe {about['recipe']}, {about['threads']} threads in process, "
        f"{len(windows['p50'])} intervals in {format_duration(about['duration_s'])}",
        {"measured": "the model in process", "corpus": str(about["corpus"]), "model": about["model"]},
        windows=windows,
    )


def _read_in_process_header(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise SideError(f"{path} is missing: an in-process CSV is read with the JSON that was written beside it") from error
    except (OSError, ValueError) as error:
        raise SideError(f"{path} cannot be read ({error})") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != _IN_PROCESS_SCHEMA:
        raise SideError(f"{path} has schema {schema!r}, this version of chatload reads schema {_IN_PROCESS_SCHEMA}")
    missing = [name for name in ("model", "corpus", "target", "recipe", "threads", "duration_s") if name not in content]
    if missing:
        raise SideError(f"{path} is not as make inprocess writes it: it lacks {', '.join(missing)}")
    return content


def _windows(path: Path, rows: list[list[str]]) -> dict[str, np.ndarray]:
    """Per interval: throughput of all processes together, and the mean of their percentiles."""
    by_process: dict[str, list[list[float]]] = {}
    for number, row in enumerate(rows, start=2):
        try:
            pid, _, throughput, p50_ms, p90_ms = row
            by_process.setdefault(pid, []).append([float(throughput), float(p50_ms), float(p90_ms)])
        except ValueError as error:
            raise SideError(f"{path}, line {number}: five numbers are wanted ({error})") from error
    whole = min((len(process) for process in by_process.values()), default=0)
    if whole < 2:
        raise SideError(f"{path} has fewer than two intervals of every process: benchmark longer")
    table = np.array([process[:whole] for process in by_process.values()])
    return {"throughput": table[:, :, 0].sum(axis=0), "p50": table[:, :, 1].mean(axis=0), "p90": table[:, :, 2].mean(axis=0)}
