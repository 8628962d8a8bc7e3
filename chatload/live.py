"""Live: the snapshot of a run that goes on, from its run folder (docs/reference/live.md).

Everything speaks of the arrivals before one moment, ``complete_s``: the last whole second before the oldest arrival that is
still out. Of what came later only the fast answers are known. Judging sorts all samples, so it gets at most a tenth of a
core; of more than _MOST_ROWS samples a part drawn at random stands for all, but for what is counted (decision 0404).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chatload import figures, fold, health, objective, runfolder, samples, statistics, timeline, verdict
from chatload.objective import Estimate

SCHEMA = 1
WARMING_UP, RUNNING, FINISHED = "warming up", "running", "finished"
NOT_DECIDED = "not decided yet"
_MOST_ROWS = 2**20
_SILENT_S = 5.0  # a worker beats every second
_REST = 9.0  # times as long as a judgement took, until the next one
_SHORTEST_CPU_S = 0.5
_TOLD = ("id", "scenario", "host", "rate", "arrivals", "objective", "warmup_s", "run_time_s")


class Watch:
    """Looks at a run folder again and again; ``clock`` counts seconds. Raises runfolder.RunFolderError."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._workers: dict[int, _Worker] = {}
        self._complete_s = 0
        self._header = runfolder.read_json(folder)["run"]
        self._tail: runfolder.Tail | None = None
        self._coming = runfolder.no_rows()
        self._kept = _Kept(self._header["warmup_s"])
        self._timeline = timeline.Timeline()
        self._judged: dict[str, Any] = {}
        self._rest_until_s = -math.inf

    def snapshot(self) -> dict:
        """How the run stands, in values that JSON takes."""
        content = runfolder.read_json(self._folder)
        if content["verdict"] is not None:
            return finished(self._folder)
        self._header = content["run"]
        try:
            self._read()
        except runfolder.RunFolderError:
            if runfolder.read_json(self._folder)["verdict"] is None:
                raise
            return finished(self._folder)  # its parts went away meanwhile
        if not self._judged or self._clock() >= self._rest_until_s:
            since_s = self._clock()
            self._judged = self._judge()
            self._rest_until_s = self._clock() + _REST * (self._clock() - since_s)
        state = RUNNING if self._complete_s > self._header["warmup_s"] else WARMING_UP
        return _snapshot(self._header, state, self._complete_s, self._judged, self._timeline, self._now())

    def _read(self) -> None:
        """Takes in what has come, and moves complete_s on."""
        self._tail = self._tail or runfolder.Tail(self._folder)
        for pulse in self._tail.pulses():  # before the rows, which then hold all that the pulses speak of
            self._workers.setdefault(pulse["worker"], _Worker(pulse["worker"], pulse["part"])).take(pulse, self._clock())
        for facts in runfolder.read_facts(self._folder):
            self._workers.setdefault(facts["worker"], _Worker(facts["worker"], facts.get("part"))).end(facts)
        found = runfolder.joined(self._coming, self._tail.rows())
        self._complete_s = max(self._complete_s, self._completed_s())
        done = found.rows["intended_s"] < self._complete_s
        self._timeline.advance(found.rows[done], self._complete_s)
        self._kept.advance(found.only(done), self._complete_s)
        self._coming = found.only(~done)

    def _completed_s(self) -> int:
        alive = self._alive()
        if not alive or (len(self._workers) < self._header["workers"] and max(w.now_s for w in alive) < _SILENT_S):
            return 0  # some have not begun
        return math.floor(min(self._header["run_time_s"] or math.inf, *(worker.complete_s for worker in alive)))

    def _alive(self) -> list[_Worker]:
        return [worker for worker in self._workers.values() if worker.alive(self._clock())]

    def _judge(self) -> dict[str, Any]:
        header, end_s, kept, alive = self._header, float(self._complete_s), self._kept, self._alive()
        facts = [worker.facts for worker in alive]
        judged = fold.judge(header, facts, kept.found, end_s, kept.share, kept.tally(end_s))
        told = fold.verdict_json(judged.verdict, judged.rate)
        window = kept.found.rows[kept.found.rows["intended_s"] >= header["warmup_s"]]
        cpu_share = max((worker.cpu_share for worker in alive), default=0.0)
        return {
            "summary": runfolder.plain(judged.summary),
            "verdict": _as_it_stands(told, end_s > header["warmup_s"]),
            "where": figures.where(window),
            "health": _health(judged.summary, header["objective"], judged.conduct, cpu_share, len(alive)),
            "judged": {"complete_s": self._complete_s, "share": kept.share},
        }

    def _now(self) -> dict[str, Any]:
        alive = self._alive()
        at_s = max((worker.now_s for worker in alive), default=0.0)
        return {"at_s": round(at_s, 3), "in_flight": sum(worker.in_flight for worker in alive)}


@dataclass
class _Worker:
    """A generator process as its pulses tell of it, or as its final facts do."""

    number: int
    part: int | None
    now_s: float = 0.0
    complete_s: float = 0.0
    in_flight: int = 0
    heard_s: float = -math.inf
    rates: list = field(default_factory=list)
    cpu: list = field(default_factory=list)
    ended: bool = False

    def take(self, pulse: dict, heard_s: float) -> None:
        self.now_s, self.complete_s, self.in_flight = pulse["now_s"], pulse["complete_s"], pulse["in_flight"]
        self.rates += pulse["rates"]
        self.cpu += pulse["cpu"]
        self.heard_s = heard_s

    def end(self, facts: dict) -> None:
        self.rates, self.cpu, self.complete_s, self.in_flight = facts["rates"], facts["cpu"], facts["ended_s"], 0
        self.now_s = max(self.now_s, self.complete_s)
        self.ended = True

    def alive(self, now_s: float) -> bool:
        """Whether it still reports, or has reported everything."""
        return self.ended or now_s - self.heard_s < _SILENT_S

    @property
    def facts(self) -> dict:
        """What fold takes of generator.Facts."""
        return {"worker": self.number, "part": self.part, "rates": self.rates, "cpu": self.cpu}

    @property
    def cpu_share(self) -> float:
        """Of a core, between the last two readings."""
        pairs = zip(self.cpu[-2::-1], self.cpu[:0:-1], strict=True)
        return next(((b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if b[0] - a[0] > _SHORTEST_CPU_S), 0.0)


class _Kept:
    """The complete samples, all of them up to _MOST_ROWS and then a share, and what all of them count."""

    def __init__(self, start_s: float) -> None:
        self.found = runfolder.no_rows()
        self.share = 1.0
        self._start_s = start_s
        self._counts: dict[int, int] = {}
        self._sent = self._served = 0
        self._out = np.empty(0, samples.DTYPE)  # complete, but done after complete_s
        self._draw = np.random.default_rng(0)

    def advance(self, found: runfolder.Rows, complete_s: float) -> None:
        """Takes the samples that have become complete."""
        self._count(found.rows, complete_s)
        self.found = runfolder.joined(self.found, found.only(self._draw.random(len(found.rows)) < self.share))
        while len(self.found.rows) > _MOST_ROWS:
            self.found = self.found.only(self._draw.random(len(self.found.rows)) < 0.5)
            self.share /= 2

    def _count(self, rows: np.ndarray, complete_s: float) -> None:
        out = np.concatenate([self._out, rows[samples.answered(rows)]])
        done = out["done_s"] < complete_s
        self._served += int(np.count_nonzero(out["done_s"][done] >= self._start_s))
        self._out = out[~done]
        inside = rows[rows["intended_s"] >= self._start_s]
        self._sent += int(np.count_nonzero(~np.isnan(inside["sent_s"])))
        for code, count in statistics.outcome_counts(inside).items():
            self._counts[code] = self._counts.get(code, 0) + count

    def tally(self, end_s: float) -> dict:
        """What the summary says of all samples by counting them."""
        return statistics.tally(self._counts, self._sent, self._served, max(end_s - self._start_s, 1e-9))


def finished(folder: Path) -> dict:
    """The snapshot of a finished run: its numbers are those of its run.json."""
    content = runfolder.read_finished(folder)
    header, summary = content["run"], content["summary"]
    rows = runfolder.read_parquet(folder).rows
    end_s = header["warmup_s"] + header["duration_s"]
    line = timeline.Timeline()
    line.advance(rows[rows["intended_s"] < math.floor(end_s)], math.floor(end_s))
    judged = {
        "summary": summary,
        "verdict": content["verdict"],
        "where": figures.where(rows[(rows["intended_s"] >= header["warmup_s"]) & (rows["intended_s"] < end_s)]),
        "health": _finished_health(header, summary),
        "judged": {"complete_s": end_s, "share": 1.0},
    }
    return _snapshot(header, FINISHED, end_s, judged, line, {"at_s": end_s, "in_flight": 0})


def _finished_health(header: dict, summary: dict) -> dict[str, Any]:
    conduct = verdict.Conduct(**{**header["conduct"], "lost": tuple(header["conduct"]["lost"])})
    estimates = {
        name: {part: Estimate(**found) for part, found in summary[name].items()} for name in ("lag_ms", "latency_ms")
    }
    workers = len(header["generators"])
    return _health({**summary, **estimates}, header["objective"], conduct, conduct.cpu_share, workers)


def _health(summary: dict, wanted: str, conduct: verdict.Conduct, cpu_share: float, workers: int) -> dict[str, Any]:
    faults = verdict.generator_faults(summary, objective.parse(wanted), conduct)
    lamp, why = health.lamp(faults, verdict.lag(summary), cpu_share)
    return {
        "lamp": lamp,
        "why": why,
        "lag_p99_ms": summary["lag_ms"]["p99"].value,
        "cpu_share": cpu_share,
        "dropped": summary["dropped"],
        "workers": workers,
        "lost": list(conduct.lost),
    }


def _as_it_stands(told: dict, measured: bool) -> dict:
    """A verdict in the words of a run that goes on; before anything was ``measured`` there is none."""
    if not measured:
        clauses = [{**clause, "answer": NOT_DECIDED, "reason": "the run is warming up"} for clause in told["objective"]]
        return {"outcome": NOT_DECIDED, "reasons": [], "faults": [], "objective": clauses}
    open_yet = told["outcome"] == verdict.INVALID and not told["faults"]
    clauses = [
        {**clause, "answer": NOT_DECIDED} if clause["answer"] == objective.UNDECIDED else clause
        for clause in told["objective"]
    ]
    return {**told, "outcome": NOT_DECIDED if open_yet else told["outcome"], "objective": clauses}


def _snapshot(header: dict, state: str, complete_s: float, judged: dict, line: timeline.Timeline, now: dict) -> dict:
    summary = judged["summary"]
    return {
        "schema": SCHEMA,
        "at_s": complete_s,
        "run": {name: header.get(name) for name in _TOLD},
        "state": state,
        "now": now,
        **judged,
        "timeline": line.as_json(),
        "outcomes": summary["outcomes"],
        "accuracy": summary["accuracy"],
        "marks": [{"at_s": at_s, "users": users} for at_s, users in header["edits"]],
    }
