"""Runs: finds the runs in a folder, and reads them in short."""

from __future__ import annotations

import json
import re
from pathlib import Path

from chatload import arrivals, cost, history, objective, runfolder

_CAPACITY_SCHEMA = 1


class RunsError(ValueError):
    """A folder in which no runs are found; the message names it and what was looked for."""


def folders(path: Path) -> list[Path]:
    """``path`` itself where it is a run's folder, else the runs in it, by the numbers in their names.

    Raises RunsError when there are none.
    """
    if not path.is_dir():
        raise RunsError(f"{path} is not a folder: name a run's folder, or a folder of runs")
    if (path / "run.json").exists():
        return [path]
    found = sorted((file.parent for file in path.glob("*/run.json")), key=_by_numbers)
    if not found:
        raise RunsError(f"{path} is not a run's folder and holds none: there is no run.json in it or one level below")
    return found


def folders_below(path: Path) -> list[Path]:
    """All runs' folders at any depth below ``path``. Raises RunsError when there are none."""
    found = sorted(file.parent for file in path.rglob("run.json"))
    if not found:
        raise RunsError(f"{path} holds no runs: there is no run.json in it or below")
    return found


def _by_numbers(folder: Path) -> list[tuple[int, str]]:
    """2 before 10: digits count as numbers, in the order of the parts of the name."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", folder.name)]


def read_finished(folder: Path) -> dict:
    """runfolder.read_finished, which also says how to finish a run that is not. Raises runfolder.RunFolderError."""
    if runfolder.read_json(folder).get("summary") is None:
        raise runfolder.RunFolderError(
            f"{folder} holds an unfinished run: chatload report {folder} finishes one that was cut short"
        )
    return runfolder.read_finished(folder)


def row(folder: Path, name: str) -> history.Row:
    """A finished run in short, called ``name``. Raises runfolder.RunFolderError."""
    content = read_finished(folder)
    try:
        return history.row(name, content)
    except (KeyError, TypeError, AttributeError, objective.ObjectiveError, arrivals.ArrivalsError) as error:
        raise runfolder.RunFolderError(f"{folder / 'run.json'} is not as chatload writes it ({error!r})") from error


def searched(path: Path) -> cost.Capacity | None:
    """What a capacity search found, where ``path`` is its folder; None for other folders of runs. Raises RunsError."""
    file = path / "capacity.json"
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["schema"] != _CAPACITY_SCHEMA:
            raise RunsError(f"{file} has schema {content['schema']!r}, this version of chatload reads {_CAPACITY_SCHEMA}")
        answer, saturation = content["answer"], content["saturation"]
        full = None if saturation.get("at_least") else saturation["throughput"]  # a lower bound is no price's base
        left_out = () if answer else (f"{file}: {content['reason'] or content['state']}",)
        return cost.Capacity(float(answer["rate"]) if answer else None, None if full is None else float(full), left_out)
    except RunsError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunsError(f"{file} is not as a capacity search writes it ({error!r})") from error
