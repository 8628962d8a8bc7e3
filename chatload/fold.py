"""Fold: from what a run left behind to its summary, verdict and report.

The same fold ends a run and reads one that was killed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from chatload import objective, report, runfolder, statistics, verdict


def finish(folder: Path) -> dict:
    """Completes a run folder that is in parts: samples.parquet, run.json with summary and verdict, summary.md.

    Returns the content of run.json. Raises runfolder.RunFolderError.
    """
    header = runfolder.read_json(folder)["run"]
    found = runfolder.read_parts(folder)
    facts = runfolder.read_facts(folder)
    start_s = header["warmup_s"]
    end_s = _end_s(header, facts, found.rows)
    header = {**header, "duration_s": max(end_s - start_s, 0.0), "generators": facts}
    summary = _summarise(found, start_s, end_s)
    clauses = objective.parse(header["objective"])
    judged = verdict.judge(summary, clauses, _conduct(header, facts, start_s, end_s), header["rate"])
    runfolder.write_parquet(folder, found)
    runfolder.write_json(folder, header, summary, _verdict_json(judged))
    content = runfolder.read_json(folder)
    runfolder.write_text(folder, "summary.md", report.markdown(content))
    runfolder.remove_parts(folder)
    return content


def _end_s(header: dict, facts: list[dict], rows: np.ndarray) -> float:
    """The end of the measured window: the planned one, or the moment at which the first generator stopped."""
    ends = [fact["ended_s"] for fact in facts]
    if len(facts) < header["workers"] or not ends:  # cut: all that is known is the last arrival
        ends.append(float(rows["intended_s"].max()) if len(rows) else 0.0)
    if header["run_time_s"]:
        ends.append(header["run_time_s"])
    return min(ends)


def _summarise(found: runfolder.Rows, start_s: float, end_s: float) -> dict:
    # A window of no length has no rates; any length serves, since no arrival falls into it.
    return statistics.summarise(found.rows, found.labelled, start_s, end_s if end_s > start_s else start_s + 1e-9)


def _conduct(header: dict, facts: list[dict], start_s: float, end_s: float) -> verdict.Conduct:
    duration_s = max(end_s - start_s, 0.0)
    interrupted = header.get("interrupted", "")
    lost = header["workers"] - len(facts)
    if not facts:
        interrupted = interrupted or "its processes were killed, all but the last moments of it is here"
    planned = header["rate"] * duration_s
    expected = sum(_integral(fact["rates"], start_s, end_s) for fact in facts) if header["edits"] or lost else planned
    return verdict.Conduct(expected, header["arrivals"] == "poisson", lost if facts else 0, interrupted)


def _integral(rates: list[list[float]], start_s: float, end_s: float) -> float:
    """Arrivals that a rate changing at [[moment, new rate], ...] foresees between two moments."""
    total = 0.0
    for (since_s, rate), until_s in zip(rates, [moment for moment, _ in rates[1:]] + [end_s], strict=True):
        total += rate * max(min(until_s, end_s) - max(since_s, start_s), 0.0)
    return total


def _verdict_json(judged: verdict.Verdict) -> dict:
    return {
        "outcome": judged.outcome,
        "reasons": list(judged.reasons),
        "objective": [{"clause": j.clause.text, "answer": j.answer} for j in judged.judgements],
    }


def show(folder: Path) -> str:
    """The report of a run as text; finishes the run first when it was killed. Raises runfolder.RunFolderError."""
    content = finish(folder) if runfolder.in_parts(folder) else runfolder.read_json(folder)
    return report.text(content, str(folder))


def outcome(folder: Path) -> str:
    """The outcome of a finished run's verdict."""
    verdict_found = json.loads((folder / "run.json").read_text())["verdict"]
    return verdict_found["outcome"] if verdict_found else verdict.INVALID
