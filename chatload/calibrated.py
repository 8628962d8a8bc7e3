"""Calibrated: reads a run's folder, or a trace, for a forecast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatload import faults, objective, runfolder, runs
from chatload.calibration import Calibration, CalibrationError, calibrate


class TraceError(ValueError):
    """A trace that cannot be read; the message names the file, the line, and what is wanted."""


@dataclass(frozen=True)
class Run:
    """A calibration run: what it says of the server, and its own ``objective`` and ``timeout_s``."""

    calibration: Calibration
    objective: str
    timeout_s: float
    about: str


def read(folder: Path, workers: int) -> Run:
    """The run in ``folder``, of a server with ``workers`` workers. Raises runfolder.RunFolderError or CalibrationError."""
    runs.read_finished(folder)  # says what to do about a run that was cut short
    content = runfolder.read_finished(folder)
    try:
        found, run = faults.of(content), content["run"]
        if run.get("sessions"):
            raise CalibrationError(
                f"{folder} is a run of sessions, whose turns wait for each other; run it without --sessions"
            )
        timeout_s = float(run["timeout_s"])
        window = run["warmup_s"], run["warmup_s"] + run["duration_s"]
    except (KeyError, TypeError, AttributeError, objective.ObjectiveError) as error:
        raise runfolder.RunFolderError(f"{folder / 'run.json'} is not as chatload writes it ({error!r})") from error
    if run.get("calls"):
        raise CalibrationError(
            f"{folder}: its arrivals are turns of several calls, and a forecast is of one model: use chatbot.py"
        )
    if found:
        raise CalibrationError(f"{folder} is an invalid run: {'; '.join(found)}")
    rows = runfolder.read_parquet(folder)
    try:
        calibration = calibrate(rows.rows, [len(utterance.text) for utterance in rows.utterances], workers, *window)
    except CalibrationError as error:
        raise CalibrationError(f"{folder} is no calibration: {error}") from error
    model = run["model"]
    about = f"{folder}: {model['name']} {model['version']}" if model else f"{folder}: model unknown"
    return Run(calibration, run["objective"], timeout_s, about)


def read_trace(path: Path) -> np.ndarray:
    """The moments of a trace, in seconds from its first arrival: a CSV's first column, whose first line may be a heading.

    Raises TraceError for what is no number, goes back in time, or has fewer than two arrivals.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise TraceError(f"trace {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TraceError(f"trace {path} cannot be read: it is not UTF-8") from error
    moments_s: list[float] = []
    for number, line in enumerate(lines, start=1):
        cell = line.partition(",")[0].strip()
        try:
            moments_s.append(float(cell))
        except ValueError:
            if number > 1 and cell:
                raise TraceError(f"trace {path}, line {number}: {cell!r} is not a number of seconds") from None
    offsets_s = np.array(moments_s)
    steps = np.diff(offsets_s)
    if len(offsets_s) < 2 or not np.isfinite(offsets_s).all() or (steps < 0).any() or not steps.any():
        raise TraceError(f"trace {path}: two arrivals or more are wanted, in seconds, in order of time")
    return offsets_s - offsets_s[0]
