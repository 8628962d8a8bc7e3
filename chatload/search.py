"""Search: a capacity search that goes on: its folder with a run for each probe, its capacity.json, and what it says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from chatload import capacity, capacity_report, keeper, objective, prices, runfolder, settings
from chatload.capacity import End, Plan, Probe, Step

REGION = "us-east-1"
_FIRST_RATE = 20.0


def check(wanted: settings.Settings) -> None:
    """Refuses what cannot be searched for. Raises SettingsError, capacity.CapacityError or cost.CostError."""
    if wanted.run_time_s:
        raise settings.SettingsError(
            "--run-time is not for a capacity search, which ends when it has its answer: bound each probe with --probe-time"
        )
    plan(wanted)


def plan(wanted: settings.Settings) -> Plan:
    """What is sought by a search with these settings. Raises capacity.CapacityError or cost.CostError."""
    clauses = objective.parse(wanted.objective)
    capacity.latency_clauses(clauses)
    price(wanted.instance)
    lowest_rate = wanted.rate or _FIRST_RATE
    return Plan(clauses, lowest_rate, probe_s=wanted.probe_time_s, precision=wanted.precision)


def price(instance: str) -> dict | None:
    """What an instance type costs, as capacity.json says it; None where none is named. Raises cost.CostError."""
    if not instance:
        return None
    listed = prices.read(None)
    dollars = listed.of(REGION, instance)
    return {"instance": instance, "region": REGION, "dollars_per_hour": dollars, "source": listed.origin[REGION, instance]}


class Search:
    """``step`` is the probe to be made now, None when the search has ended. ``say`` gets a line for each probe."""

    def __init__(self, folder: Path, wanted: settings.Settings, say: Callable[[str], None]) -> None:
        keeper.check_results(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise runfolder.RunFolderError(f"results folder {folder} cannot be made: {error.strerror}") from error
        self.folder = folder
        self._wanted = wanted
        self._plan = plan(wanted)
        self._price = price(wanted.instance)
        self._started = datetime.now().astimezone().isoformat(timespec="seconds")
        self._probes: list[Probe] = []
        self._told: list[dict] = []
        self._say = say
        self._end: End | None = None
        self._interrupted = ""
        self._decide()
        say(capacity_report.begin(self._plan, wanted.host))

    @property
    def step(self) -> Step | None:
        return None if self._end is not None or isinstance(self._next, End) else self._next

    @property
    def interrupted(self) -> str:
        """By what the search was ended before its time; empty where it was not."""
        return self._interrupted

    @property
    def outcome(self) -> str:
        return capacity.UNDECIDED if self._end is None else self._end.outcome

    def settings(self, step: Step) -> settings.Settings:
        """The settings of the run that makes a probe."""
        number = len(self._probes) + 1
        return replace(
            self._wanted,
            rate=step.rate,
            seed=self._wanted.seed + number - 1,
            run_time_s=self._wanted.warmup_s + step.most_s,
            abort_when=self._wanted.abort_when or capacity.abort_rule(self._plan.clauses),
            results=str(self.folder / f"probe-{number:02}"),
        )

    def take(self, folder: Path, step: Step) -> None:
        """Takes the finished run of the probe ``step``, and decides on the next one."""
        content = runfolder.read_finished(folder)
        probe = capacity.probe(content, step, self._plan.clauses)
        self._told.append(capacity_report.probe(probe, content, folder.name))
        if self._interrupted:  # cut off in the middle: kept, but nothing to be decided by
            self._write()
            return
        self._probes.append(probe)
        self._decide()
        self._say(capacity_report.line(len(self._probes), runfolder.plain(self.state())))

    def interrupt(self, why: str) -> None:
        """Ends the search before its time; nothing where it has ended."""
        if self._end is None:
            self._interrupted = why
            self._end = End(capacity.UNDECIDED, f"interrupted after {len(self._probes)} probes: {why}")
            self._write()

    def finish(self) -> str:
        """The text at the end; writes report.html in a process of its own, since a charting library is heavy."""
        command = [sys.executable, "-m", "chatload", "capacity", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the report of {self.folder} could not be written: {done.stderr.strip()}")
        return done.stdout

    def state(self) -> dict:
        """How the search stands: the content of capacity.json."""
        return capacity_report.content(
            self._plan,
            self._probes,
            self._told,
            self._end,
            {"started": self._started, "host": self._wanted.host, "objective": self._wanted.objective, "price": self._price},
        )

    def _decide(self) -> None:
        self._next = capacity.decide(self._probes, self._plan)
        if isinstance(self._next, End):
            self._end = self._next
        self._write()

    def _write(self) -> None:
        text = json.dumps(runfolder.plain(self.state()), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        runfolder.write_text(self.folder, capacity_report.FILE, text)
