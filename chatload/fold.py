"""Fold: from what a run left behind to its summary, verdict and report.

The same fold ends a run and reads one that was killed. A run ends with `python -m chatload.fold FOLDER`, which does what
`chatload report` does without importing every other command first.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from chatload import (
    call_graph,
    calls,
    dealing,
    figures,
    groups,
    junit,
    messages,
    objective,
    report,
    runfolder,
    samples,
    statistics,
    verdict,
)
from chatload.arrivals import ArrivalsError

_TREND_MOMENTS = 1_000
_SHORTEST_CPU_S = 0.5
_LATE_S = 1.0
_ON_THEIR_WAY_S = 5.0  # from Locust's word that all users are there to the last process that has them
_TRANSIENT = 1.5  # times the latency of what follows


def finish(folder: Path) -> dict:
    """Completes a run folder that is in parts: samples.parquet (and calls.parquet), run.json with summary and verdict.

    Returns the content of run.json. Raises runfolder.RunFolderError.
    """
    header = runfolder.read_json(folder)["run"]
    found = runfolder.read_parts(folder)
    facts = _on_one_clock(runfolder.read_facts(folder), found)
    end_s = _end_s(header, facts, found.rows)
    header = {**header, "duration_s": max(end_s - header["warmup_s"], 0.0), "generators": facts}
    judged = judge(header, facts, found, end_s)
    summary = {**judged.summary, **_calls(folder, header, header["warmup_s"], end_s)}
    header = {**header, "conduct": asdict(judged.conduct)}
    runfolder.write_parquet(folder, found, header["seed"])
    runfolder.write_json(folder, header, summary, verdict_json(judged.verdict, judged.rate))
    content = runfolder.read_finished(folder)
    _write_reports(folder, content, found)
    runfolder.remove_parts(folder)
    _publish(folder / "summary.md")
    return content


def _on_one_clock(facts: list[dict], found: runfolder.Rows) -> list[dict]:
    """Moves the times of a process that came to a running run to the clock of those that were there from the start.

    All three times of a sample alike, so that no latency changes. Within _LATE_S processes count as started together: how
    long their first messages took is as uncertain as their clocks' difference.
    """
    first_s = min((fact.get("began_s", 0.0) for fact in facts), default=0.0)
    moved = []
    for fact in facts:
        late_s = fact.get("began_s", 0.0) - first_s
        if late_s > _LATE_S:
            own = found.worker == fact["worker"]
            for name in ("intended_s", "sent_s", "done_s"):
                found.rows[name][own] += late_s
            readings = {name: [[at_s + late_s, value] for at_s, value in fact[name]] for name in ("rates", "cpu")}
            fact = {**fact, **readings, "ended_s": fact["ended_s"] + late_s}
        moved.append(fact)
    return moved


def _calls(folder: Path, header: dict, start_s: float, end_s: float) -> dict:
    """The summary's part on the calls of turns, after writing calls.parquet; nothing where an arrival is one call."""
    if not header.get("calls"):
        return {}
    graph = call_graph.parse(header["calls"])
    made = runfolder.read_calls(folder)
    runfolder.write_calls(folder, made, graph.names)
    return {"calls": calls.summarise(made.rows, graph, start_s, end_s)}


@dataclass(frozen=True)
class Judged:
    """What a run's samples say up to some moment; ``rate`` is what its clauses were held to, arrivals per second."""

    summary: dict
    conduct: verdict.Conduct
    verdict: verdict.Verdict
    rate: float


def judge(
    header: dict, facts: list[dict], found: runfolder.Rows, end_s: float, share: float = 1.0, counted: dict | None = None
) -> Judged:
    """Summary and verdict of a run, from its warm-up to ``end_s``; ``facts`` are those of its live or ended workers.

    Where ``found`` is only a ``share`` of the samples, drawn at random, ``counted`` is what the summary says by counting all
    of them (statistics.tally).
    """
    start_s = header["warmup_s"]
    summary = {**_summarise(found, start_s, end_s), **(counted or {})}
    clauses = objective.parse(header["objective"])
    conduct = _conduct(header, facts, found, start_s, end_s, share)
    # A dealt plan's own rate in the measured window, which may be far from its mean over a day.
    dealt = _planned(header).dealt and end_s > start_s
    rate = conduct.expected / (end_s - start_s) if dealt else header["rate"]
    return Judged(summary, conduct, verdict.judge(summary, clauses, conduct, rate), rate)


def _publish(summary: Path) -> None:
    """Adds the summary to the page of a GitHub Actions step, where there is one. Once a run: when it is finished."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with open(path, "a", encoding="utf-8") as page:
            page.write(summary.read_text(encoding="utf-8"))
    except OSError as error:
        raise runfolder.RunFolderError(f"GITHUB_STEP_SUMMARY {path}: cannot be written ({error.strerror})") from error


def _write_reports(folder: Path, content: dict, found: runfolder.Rows) -> None:
    # Here, since the generator's process imports this module too: a charting library must not weigh on it.
    from chatload import html_report

    run = content["run"]
    start_s = run["warmup_s"]
    drawn = figures.build(found.rows, found.utterances, found.labels, start_s, start_s + run["duration_s"])
    runfolder.write_text(folder, "summary.md", report.markdown(content))
    runfolder.write_text(folder, "junit.xml", junit.xml(content))
    runfolder.write_text(folder, "report.html", html_report.html(content, drawn))


def _end_s(header: dict, facts: list[dict], rows: np.ndarray) -> float:
    """The end of the measured window: the planned one, or the moment at which the first generator stopped."""
    dealt = _planned(header).dealt
    # One that had no part of the timetable came late, and counts its seconds from then.
    ends = [fact["ended_s"] for fact in facts if not dealt or fact["part"] is not None]
    if len(facts) < header["workers"] or not ends:  # cut: all that is known is the last arrival
        ends.append(float(rows["intended_s"].max()) if len(rows) else 0.0)
    if header["run_time_s"]:
        ends.append(header["run_time_s"])
    return min(ends)


def _summarise(found: runfolder.Rows, start_s: float, end_s: float) -> dict:
    # A window of no length has no rates; any length serves, since no arrival falls into it.
    summary = statistics.summarise(found.rows, found.labelled, start_s, end_s if end_s > start_s else start_s + 1e-9)
    measured = _measured(found.rows, start_s, end_s)
    window = found.rows[measured]
    repeated = messages.repeated(found.rows, found.worker, [utterance.text for utterance in found.utterances])
    return {
        **summary,
        "repeated": statistics.proportion(repeated[measured], effect=1.0),
        "by_length": groups.by_length(window, found.utterances, found.labels),
        "by_intent": groups.by_intent(window, found.utterances, found.labels),
        "by_turn": groups.by_turn(window, found.labelled[measured]),
    }


def _measured(rows: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    """Indices of the rows in the measured window, in order of intended time."""
    inside = np.flatnonzero((rows["intended_s"] >= start_s) & (rows["intended_s"] < end_s))
    return inside[np.argsort(rows["intended_s"][inside], kind="stable")]


def _conduct(
    header: dict, facts: list[dict], found: runfolder.Rows, start_s: float, end_s: float, share: float
) -> verdict.Conduct:
    duration_s = max(end_s - start_s, 0.0)
    ended = {fact["worker"] for fact in facts}
    lost = _lost(header["workers"] - len(facts), ended, found) if facts else ()
    interrupted, aborted = header.get("interrupted", ""), header.get("aborted", "")
    if not facts:
        interrupted = interrupted or "its processes were killed, all but the last moments of it is here"
    edited = bool(header["edits"] or lost)
    planned = _planned(header)
    if planned.dealt:
        expected = _dealt(header, facts, planned, start_s, end_s)
    elif edited:
        expected = sum(_integral(fact["rates"], start_s, end_s) for fact in facts)
        expected += 0.0 if lost else _withheld(header, facts, start_s, end_s)
    else:
        expected = header["rate"] * duration_s
    rows = found.rows[_measured(found.rows, start_s, end_s)]
    whole = duration_s > 0 and len(rows) > 0 and not edited and not interrupted and not aborted
    steady = whole and planned.arrivals.stationary
    return verdict.Conduct(
        expected=expected,
        poisson=planned.poisson,
        departs=steady and planned.poisson and statistics.departs_from_poisson(rows["intended_s"], header["rate"] * share),
        lost=lost,
        interrupted=interrupted,
        aborted=aborted,
        cpu_share=max((_busiest(fact["cpu"], start_s) for fact in facts), default=0.0),
        trend=_trend(rows, start_s) if steady else 1.0,
        settled_s=_settled_s(rows, start_s, end_s) if steady else None,
    )


def _withheld(header: dict, facts: list[dict], start_s: float, end_s: float) -> float:
    """Arrivals of streams that the last edit asked for and no process has. Just after an edit they may be on their way."""
    since_s, users = header["edits"][-1]
    settled_s = since_s + _ON_THEIR_WAY_S
    # What changed later belongs to an edit that was still on its way at the end.
    if not facts or end_s < settled_s or any(fact["rates"] and fact["rates"][-1][0] > settled_s for fact in facts):
        return 0.0
    played = sum(fact["rates"][-1][1] for fact in facts if fact["rates"])
    return max(users * header["stream_rate"] - played, 0.0) * (end_s - max(since_s, start_s))


def _planned(header: dict) -> dealing.Dealing:
    return dealing.read(header["arrivals"], header.get("sessions", ""), header["rate"], header["seed"])


def _dealt(header: dict, facts: list[dict], planned: dealing.Dealing, start_s: float, end_s: float) -> float:
    """Arrivals that the run's timetable has in the window, planned once more; those of the processes that ended in order."""
    try:
        counts = planned.counts(start_s, end_s, header["parts"])
    except ArrivalsError as error:
        raise runfolder.RunFolderError(f"the run's arrivals cannot be counted: {error}") from error
    if not facts:
        return sum(counts)
    return sum(counts[fact["part"]] for fact in facts if fact["part"] is not None)


def _lost(count: int, ended: set[int], found: runfolder.Rows) -> tuple[str, ...]:
    """The generator processes that never said that they had ended, each with the last moment that it reported."""
    silent = sorted(set(found.worker.tolist()) - ended)
    named = [
        f"number {worker}, silent from {found.rows['intended_s'][found.worker == worker].max():.1f} s" for worker in silent
    ]
    return tuple(named + ["one that never reported"] * (count - len(named)))


def _busiest(cpu: list[list[float]], start_s: float) -> float:
    """The largest share of a core between two readings [moment, CPU seconds so far] after ``start_s``."""
    pairs = zip(cpu, cpu[1:], strict=False)
    shares = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairs if a[0] >= start_s and b[0] - a[0] > _SHORTEST_CPU_S]
    return max(shares, default=0.0)


def _trend(rows: np.ndarray, start_s: float) -> float:
    """Up to the last answered arrival: a server that has gone leaves nothing in flight, which is failure, not trend."""
    answers = rows[samples.answered(rows)]
    if not len(answers):
        return 1.0
    moments = np.linspace(start_s, answers["intended_s"][-1], _TREND_MOMENTS)
    return statistics.trend(statistics.in_flight(answers, moments))


def _settled_s(rows: np.ndarray, start_s: float, end_s: float) -> float | None:
    """The moment at which a transient ended, where it took more than a tenth of the window and stood out.

    It stands out by its median: a stall or a burst in the first half moves the mean, but is no warming up.
    """
    answers = rows[samples.answered(rows)]
    latency_ms = samples.latency_ms(answers)
    cut = statistics.transient(latency_ms)
    if not cut or np.median(latency_ms[:cut]) < _TRANSIENT * np.median(latency_ms[cut:]):
        return None
    settled_s = float(answers["intended_s"][cut])
    return settled_s if settled_s - start_s > (end_s - start_s) / 10 else None


def _integral(rates: list[list[float]], start_s: float, end_s: float) -> float:
    """Arrivals that a rate changing at [[moment, new rate], ...] foresees between two moments."""
    total = 0.0
    for (since_s, rate), until_s in zip(rates, [moment for moment, _ in rates[1:]] + [end_s], strict=True):
        total += rate * max(min(until_s, end_s) - max(since_s, start_s), 0.0)
    return total


def verdict_json(judged: verdict.Verdict, rate: float) -> dict:
    """The verdict as run.json has it."""
    return {
        "outcome": judged.outcome,
        "reasons": list(judged.reasons),
        "faults": list(judged.faults),
        "overloaded": judged.overloaded,
        "objective": [
            {"clause": j.clause.text, "answer": j.answer, "reason": verdict.explain(j, rate)} for j in judged.judgements
        ],
    }


def show(folder: Path) -> str:
    """The report of a run as text, and the folder's reports written again; finishes the run first when it was killed.

    Raises runfolder.RunFolderError.
    """
    if runfolder.in_parts(folder):
        content = finish(folder)
    else:
        content = runfolder.read_finished(folder)
        _write_reports(folder, content, runfolder.read_parquet(folder))
    return report.text(content, str(folder))


def outcome(folder: Path) -> str:
    """The outcome of a finished run's verdict."""
    verdict_found = json.loads((folder / "run.json").read_text())["verdict"]
    return verdict_found["outcome"] if verdict_found else verdict.INVALID


def main() -> None:
    """Prints the report of the run whose folder the command line names, finished; exits with 2 where it cannot be read."""
    try:
        print(show(Path(sys.argv[1])), end="")
    except runfolder.RunFolderError as error:
        print(f"chatload: {error}", file=sys.stderr)
        sys.exit(verdict.EXIT_CODES[verdict.INVALID])


if __name__ == "__main__":
    main()
