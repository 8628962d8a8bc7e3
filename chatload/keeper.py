"""Keeper: keeps the run folder of a run that goes on, in the process that is local or master."""

from __future__ import annotations

import logging
import math
import subprocess
import sys
import time
from collections.abc import Sequence, Set
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from chatload import abort, corpus, dealing, machine, runfolder, samples, settings
from chatload.corpus import Utterance
from chatload.corpus_file import Replayed

logger = logging.getLogger("chatload")

LOCAL = "local"  # the name of the process that both generates and keeps
_OVERDUE_S = 0.5  # a generator that is late at the end may still send what was due before it


def check_results(folder: Path) -> None:
    """Raises runfolder.RunFolderError when a folder for results holds something already."""
    if str(folder) != "." and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise runfolder.RunFolderError(
            f"results folder {folder} exists and is not empty: name another with --results (make: RESULTS=)"
        )


def new_id(scenario: str) -> str:
    """A name for what starts now: its moment, its scenario, and four digits that tell it from others of that second."""
    return f"{datetime.now().astimezone():%Y%m%d-%H%M%S}-{scenario}-{uuid4().hex[:4]}"


def begin(wanted: settings.Settings, scenario: str, replayed: Replayed, workers: set[str], **found: Any) -> Keeper:
    """Opens the folder of a run that starts now; its header says what else was ``found`` (by its names)."""
    header = _header(wanted, scenario, corpus=_corpus(wanted.corpus, replayed), workers=len(workers), **found)
    folder = Path(wanted.results) if wanted.results else Path("results") / header["id"]
    return Keeper(folder, header, replayed.utterances, workers)


def _corpus(file: str, replayed: Replayed) -> dict:
    return {
        "file": file,
        "split": replayed.split,
        "utterances": len(replayed.utterances),
        "sha256": corpus.fingerprint(replayed.utterances),
    }


def _header(wanted: settings.Settings, scenario: str, **found: Any) -> dict:
    """What was wanted, what makes the run, and what else was found."""
    return {
        "id": new_id(scenario),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "scenario": scenario,
        "host": wanted.host,
        "arrivals": wanted.arrivals,
        "sessions": wanted.sessions,
        "mix": wanted.mix,
        "lengths": wanted.lengths,
        "noise": wanted.noise,
        "repeats": wanted.repeats,
        "seed": wanted.seed,
        "objective": wanted.objective,
        "abort_when": wanted.abort_when,
        "warmup_s": wanted.warmup_s,
        "run_time_s": wanted.run_time_s,
        "duration_s": None,
        "timeout_s": wanted.timeout_s,
        "edits": [],
        "interrupted": "",
        "aborted": "",
        "versions": machine.versions(),
        "hardware": machine.hardware(),
        **found,
    }


class Keeper:
    """Takes what generator processes report; ``workers`` names those that take part, ``ended`` those that are through.

    ``began_with`` names those that were there at the beginning: the clocks of others began later. ``ending``: it is ending
    already, and there is nothing left to be decided by what is reported.
    """

    def __init__(self, folder: Path, header: dict, utterances: Sequence[Utterance], workers: set[str]) -> None:
        runfolder.create(folder, header, list(utterances))
        self.folder = folder
        self.header = header
        self.workers = workers
        self.began_with = frozenset(workers)
        self.ended: set[str] = set()
        self.ending = False
        self.parts = runfolder.Parts(folder)
        rule = abort.parse(header["abort_when"]) if header["abort_when"] else None
        self._watch = abort.Watch(rule, header["warmup_s"]) if rule else None
        self._started_s = time.perf_counter()
        self._users: int | None = None
        self._began_s: dict[int, float] = {}
        self._past_end: set[str] = set()
        self._dealt = dealing.read(*(header[name] for name in ("arrivals", "sessions", "rate", "seed"))).dealt

    def beat(self, name: str, worker: int, pulse: dict) -> None:
        """Keeps a pulse (generator.Pulse) of the worker of a name and number; the first tells when its clock began."""
        self._began_s.setdefault(worker, time.perf_counter() - self._started_s - pulse["now_s"])
        self.parts.beat(worker, pulse)
        if pulse["now_s"] >= (self.header["run_time_s"] or math.inf) + _OVERDUE_S:
            self._past_end.add(name)

    def is_over(self, awaited: Set[str]) -> bool:
        """Whether these of ``began_with`` have all come to the run's planned end; the run is then ending."""
        if self.ending or not awaited or not awaited <= self._past_end:
            return False
        self.ending = True
        return True

    def end(self, worker: int, facts: dict) -> None:
        """Keeps the final facts of a worker (generator.Facts), and when its clock began, in seconds of this process's."""
        self.parts.end(worker, {**facts, "began_s": self._began_s.get(worker, 0.0)})

    def note_users(self, users: int) -> None:
        """Marks a change of the number of users after the first ones have started: the rate was edited."""
        changed = self._users is not None and users != self._users
        if changed and self._dealt:
            logger.warning("chatload: the arrivals were planned at the start; they do not follow the number of users")
        elif changed:
            self.header["edits"].append([round(time.perf_counter() - self._started_s, 3), users])
            runfolder.write_json(self.folder, self.header, None, None)
        self._users = users

    def is_hopeless(self, rows: bytes) -> bool:
        """Whether rows just reported call for an end of the run; the header then says why, and nobody is asked again."""
        now_s = time.perf_counter() - self._started_s
        if self._watch is None or self.ending or now_s >= (self.header["run_time_s"] or math.inf):
            return False
        self.header["aborted"] = self._watch.see(samples.from_bytes(rows), now_s)
        self.ending = bool(self.header["aborted"])
        return self.ending

    def finish(self) -> str:
        """Folds the run's parts in a process of its own (it may need much memory); returns the report."""
        self.parts.close()
        self.header["workers"] = len(self.workers)
        runfolder.write_json(self.folder, self.header, None, None)
        command = [sys.executable, "-m", "chatload.fold", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr:
            logger.error(done.stderr.strip())
        return done.stdout
