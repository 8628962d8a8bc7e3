"""Comparison report: what a comparison found, as text for people and as JSON for machines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from chatload import compare, findings, table
from chatload.compare import Comparison
from chatload.findings import BETTER, SAME, SHARES, UNDECIDED, WORSE, Finding, Margins
from chatload.objective import Estimate
from chatload.units import format_duration, format_ms, format_share

SCHEMA = 1
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # the names of sides, the baseline first
_GATE = {
    SAME: "PASS: {b} is not worse than {a} by more than {margins}",
    WORSE: "FAIL: {b} is worse than {a} by more than {margins}: {metrics}",
    UNDECIDED: "NOT DECIDED: {b} may be worse than {a} by more than {margins}: {metrics}",
}


def text(comparisons: Sequence[Comparison], margins: Margins, gated: bool) -> str:
    """The report that chatload compare prints; with the gate's answer where it was ``gated``."""
    sides = [comparisons[0].a, *(comparison.b for comparison in comparisons)]
    lines = [f"{letter}  {side.name}\n   {side.about}" for letter, side in zip(LETTERS, sides, strict=False)]
    for letter, comparison in zip(LETTERS[1:], comparisons, strict=False):
        lines += ["", *_block(letter, comparison, margins, gated)]
    return "\n".join(lines) + "\n"


def _block(letter: str, comparison: Comparison, margins: Margins, gated: bool) -> list[str]:
    head = ["", "A", letter, f"{letter}/A", "interval", "answer"]
    rows = [head, *[_cells(finding, margins) for finding in comparison.findings]]
    lines = [f"{letter} against A", *[f"  compared anyway: {reason}" for reason in comparison.reservations]]
    lines += [*table.lines(rows, left=(0, 4, 5)), *_notes(comparison, margins, gated)]
    return [*lines, "", "  gate  " + _gate(letter, comparison, margins)] if gated else lines


def _cells(finding: Finding, margins: Margins) -> list[str]:
    show = format_share if finding.metric in SHARES else format_ms
    name = f"{finding.metric}/s" if finding.metric == "throughput" else finding.metric
    name += " ms" if finding.metric in compare.PERCENTILES else ""
    values = [_shown(part.value, show) for part in (finding.a, finding.b)]
    return [name, *values, _change(finding), _interval(finding), answer(finding, margins)]


def answer(finding: Finding, margins: Margins) -> str:
    """What became of a metric, in words."""
    if finding.change.low is None:
        return "not carried by these samples"
    margin, within = _margin(finding, margins), finding.within(margins)
    if within in (WORSE, BETTER):
        return f"{within} by more than {margin}"
    if finding.real:
        return f"{finding.real}, by less than {margin}" if within == SAME else finding.real
    return f"the same within {margin}" if within == SAME else "not decided"


def _margin(finding: Finding, margins: Margins) -> str:
    return _points(margins.points) if finding.metric in SHARES else format_share(margins.ratio)


def _points(share: float) -> str:
    return f"{share * 100:g} points" if share != 0.01 else "1 point"


def _change(finding: Finding) -> str:
    if finding.metric in SHARES:
        return _shown(finding.change.value, lambda value: f"{value * 100:+.2f} pt")
    return _shown(finding.change.value, format_ratio)


def format_ratio(value: float) -> str:
    """A ratio with three or four significant digits: 0.0123, 1.034, 4.90, 12.3, 2,031."""
    if value >= 10:
        return f"{value:.1f}" if value < 100 else f"{value:,.0f}"
    return f"{value:.2f}" if value >= 2 else f"{value:.3f}" if value >= 0.1 else f"{value:.3g}"


def _interval(finding: Finding) -> str:
    low, high = finding.change.low, finding.change.high
    if low is None or high is None:
        return "-"
    if finding.metric in SHARES:
        return f"{low * 100:+.2f} to {high * 100:+.2f} pt"
    if math.isinf(low):
        return "-"
    if low == 0 and math.isinf(high):
        return "unbounded"
    return f"{format_ratio(low)} or more" if math.isinf(high) else f"{format_ratio(low)} to {format_ratio(high)}"


def _shown(value: float | None, form: Any) -> str:
    return "-" if value is None else "no answer" if math.isinf(value) else form(value)


def _notes(comparison: Comparison, margins: Margins, gated: bool) -> list[str]:
    """How the intervals are to be read, and what it takes to decide what is open."""
    a = comparison.a
    lines = ["", *[f"  Left out: {metric}, which not every side knows." for metric in comparison.left_out]]
    lines.append(f"  All intervals hold together at 95 % (each at {format_share(comparison.confidence)}).")
    if a.windows is None and len(a.runs) == 1:
        lines.append("  One run of each: what differs from run to run is not in them. make ab runs A and B in turns.")
    elif a.windows is None:
        lines.append(f"  From {len(a.runs)} rounds: what differs from run to run is in them.")
    return lines + [
        _wanted(comparison, finding, margins) for finding in comparison.findings if _open(finding, margins, gated)
    ]


def _open(finding: Finding, margins: Margins, gated: bool) -> bool:
    if gated:
        return finding.gate(margins) == UNDECIDED
    return not finding.real and finding.within(margins) == UNDECIDED


def _wanted(comparison: Comparison, finding: Finding, margins: Margins) -> str:
    start = f"  To tell {_margin(finding, margins)} in {finding.metric}: "
    needed = needs(comparison, finding, margins)
    if needed is None:
        return start + "this is too little to say how much it takes; measure ten times as long"
    if "rounds" in needed:
        return start + f"about {needed['rounds']:,.0f} rounds"
    if "times" in needed:
        form = "{:.1f}" if needed["times"] < 100 else "{:,.0f}"
        return start + f"measure about {form.format(needed['times'])} times as long"
    run = comparison.a.runs[0]
    seconds = needed["samples"] * run.duration_s / max(len(run.latency_ms), 1)
    return start + f"about {needed['samples']:,.0f} arrivals a run ({format_duration(seconds)} at this rate)"


def needs(comparison: Comparison, finding: Finding, margins: Margins) -> dict[str, float] | None:
    """So many rounds, samples a run, or times the length find a difference of the margin. None: that cannot be said."""
    a, b, confidence = comparison.a, comparison.b, comparison.confidence
    needed: float | None
    if not a.runs or not b.runs:
        word, needed = "times", findings.needed_times(finding, margins, confidence)
    elif len(a.runs) > 1:
        word, needed = "rounds", findings.needed_rounds(finding, len(a.runs), margins, confidence)
    else:
        word, needed = (
            "samples",
            findings.needed_samples(finding, (len(a.runs[0].latency_ms), len(b.runs[0].latency_ms)), margins, confidence),
        )
    return None if needed is None else {word: needed}


def _gate(letter: str, comparison: Comparison, margins: Margins) -> str:
    outcome = findings.gate(comparison.findings, margins)
    metrics = ", ".join(finding.metric for finding in comparison.findings if finding.gate(margins) == outcome)
    allowed = f"{format_share(margins.ratio)} ({_points(margins.points)} of errors and accuracy)"
    return _GATE[outcome].format(a="A", b=letter, margins=allowed, metrics=metrics)


def machine(comparisons: Sequence[Comparison], margins: Margins) -> dict:
    """The same for machines: what chatload compare --json writes. Infinite and unknown numbers are null."""
    return {
        "schema": SCHEMA,
        "margins": {"ratio": margins.ratio, "points": margins.points},
        "sides": [
            {"name": side.name, "about": side.about, "conditions": dict(side.conditions), "runs": len(side.runs)}
            for side in (comparisons[0].a, *(comparison.b for comparison in comparisons))
        ],
        "comparisons": [_machine(comparison, margins) for comparison in comparisons],
    }


def _machine(comparison: Comparison, margins: Margins) -> dict:
    by_metric = {
        finding.metric: {
            "a": _plain(finding.a),
            "b": _plain(finding.b),
            "change": _plain(finding.change),
            "real": finding.real or None,
            "within_margin": finding.within(margins),
            "gate": finding.gate(margins),
            "needed": needs(comparison, finding, margins),
        }
        for finding in comparison.findings
    }
    return {
        "a": comparison.a.name,
        "b": comparison.b.name,
        "confidence_of_each": comparison.confidence,
        "reservations": list(comparison.reservations),
        "left_out": list(comparison.left_out),
        "gate": findings.gate(comparison.findings, margins),
        "findings": by_metric,
    }


def _plain(found: Estimate) -> dict:
    parts = {"value": found.value, "low": found.low, "high": found.high}
    return {name: part if part is not None and math.isfinite(part) else None for name, part in parts.items()}
