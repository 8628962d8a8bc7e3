"""Sides: reads what is compared: a run's folder, a folder of repeated runs, or the CSV of an in-process benchmark."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from chatload import arrivals, conditions, faults, objective, runfolder, runs, samples
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
    if len(folders) == 1:
        return _read_run(folders[0], conditions.of_single)
    read = [_read_run(folder, conditions.of) for folder in folders]
    for folder, run in zip(folders, read, strict=True):
        found = conditions.differences(read[0].conditions, run.conditions)
        if found:
            raise SideError(
                f"{path} holds runs of different kinds: {folder.name} differs from {folders[0].name} in {'; '.join(found)}"
            )
    faulty = tuple(f"{folder.name}: {fault}" for folder, run in zip(folders, read, strict=True) for fault in run.faults)
    measured = tuple(sample for run in read for sample in run.runs)
    return Side(str(path), f"{len(read)} runs; {read[0].about}", read[0].conditions, measured, faults=faulty)


def _read_run(folder: Path, conditions_of: Callable[[dict], dict[str, str]]) -> Side:
    content = runs.read_finished(folder)
    try:
        run, planned = content["run"], content["summary"]["planned"]
        alike, found = conditions_of(run), faults.of(content)
    except (KeyError, TypeError, AttributeError, objective.ObjectiveError, arrivals.ArrivalsError) as error:
        raise runfolder.RunFolderError(f"{folder / 'run.json'} is not as chatload writes it ({error!r})") from error
    if not planned or run["duration_s"] <= 0:
        raise SideError(f"{folder} measured nothing, it ended within its warm-up: run it again, longer")
    measured = _samples(runfolder.read_parquet(folder), run["warmup_s"], run["warmup_s"] + run["duration_s"])
    count = len(measured.latency_ms)
    if count != planned:
        raise runfolder.RunFolderError(
            f"{folder}: samples.parquet has {count:,} arrivals where run.json counts {planned:,}: it is not of this run"
        )
    return Side(str(folder), _about(run, count), alike, (measured,), faults=found)


def _samples(found: runfolder.Rows, start_s: float, end_s: float) -> Samples:
    """What a run measured between two moments, each sample by its intended time and each answer by when it came."""
    rows = found.rows
    done_s = rows["done_s"][samples.answered(rows) & (rows["done_s"] >= start_s) & (rows["done_s"] < end_s)] - start_s
    inside = np.flatnonzero((rows["intended_s"] >= start_s) & (rows["intended_s"] < end_s))
    order = inside[np.argsort(rows["intended_s"][inside], kind="stable")]
    window = rows[order]
    checked = samples.answered(window) & found.labelled[order]
    return Samples(samples.latency_ms(window), done_s, end_s - start_s, window["outcome"][checked] == samples.OK)


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
