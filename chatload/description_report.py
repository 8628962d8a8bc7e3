"""Description report: what a log looks like and what reproduces it, as text for people and as JSON for machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chatload import table
from chatload.chat_log import Histogram, Log
from chatload.description import RECENT, Description, Sessions, Spread, Traffic, length_bands
from chatload.fitting import NEAR, Candidate, Fit
from chatload.reproduction import Reproduction
from chatload.stand_in import StandIns
from chatload.units import format_duration, format_share

_BARS = "▁▂▃▄▅▆▇█"
_TOP = 5
_MEANINGS = {
    "constant": "evenly spaced: something paces these messages",
    "poisson": "gaps and counts as of independent customers",
    "gamma": "gaps that do not depend on each other, burstier than independent customers (CV above 1) or more even (below)",
    "onoff": "bursts that come and go: dispersion grows with the window and levels off",
    "profile": "a rate that changes over the log, and independent customers at each moment",
}


def text(found: Description, fit: Fit | None, reproduced: Reproduction) -> str:
    """The description that is printed; its last line is a command to paste."""
    parts = [_heading(found.log), _arrivals(found.traffic), _sessions(found.sessions), _utterances(found), _fit(found, fit)]
    blocks = ["\n".join(part) for part in parts if part]
    return "\n\n".join([*blocks, "\n".join(_options(reproduced)), reproduced.command]) + "\n"


def _heading(log: Log) -> list[str]:
    roles = [(role, getattr(log.columns, role)) for role in ("time", "text", "intent", "session", "tokens")]
    lines = [
        f"chatload describe: {log.file}",
        f"  {log.rows:,} rows; " + ", ".join(f"{role} in {name!r}" for role, name in roles if name),
    ]
    if log.times and log.times.unit:
        lines.append(f"  times are epoch {log.times.unit}")
    if log.sorted_here:
        lines.append("  rows are not in order of time: sorted here")
    if log.times and log.times.tick_s:
        lines.append(f"  times are whole multiples of {log.times.tick_s:g} s: spread evenly at random within")
    if log.blank:
        lines.append(f"  {log.blank:,} rows have no text")
    return lines


def _arrivals(traffic: Traffic | None) -> list[str]:
    if traffic is None:
        return []
    burstiness = traffic.burstiness
    dispersion = "   ".join(
        f"{format_duration(window_s)} {_short(value)}" for window_s, value in burstiness.dispersion.items()
    )
    return [
        f"  arrivals           {traffic.count:,} over {format_duration(traffic.span_s)}",
        f"    mean rate        {_rates(traffic.rate)}",
        *_peak("minute", traffic.peak_minute, traffic.rate * 60),
        *_peak("hour", traffic.peak_hour, traffic.rate * 3600),
        f"    rate over time   {bars(traffic.rates)}",
        f"                     in steps of {format_duration(traffic.step_s)}, the highest {_short(max(traffic.rates))}/s",
        f"    CV of gaps       {_short(burstiness.cv)}   (independent customers: 1)",
        f"    dispersion       {dispersion or 'too short to say'}   (variance over mean of the counts in such windows; 1)",
    ]


def _rates(rate: float) -> str:
    return f"{_short(rate)}/s   {_short(rate * 60)}/min   {_short(rate * 3600)}/h"


def _peak(name: str, peak: int | None, mean: float) -> list[str]:
    return [] if peak is None else [f"    busiest {name:<8} {peak:,}, {peak / mean:.1f} times the mean"]


def bars(values: Sequence[float] | np.ndarray) -> str:
    """A bar a value, from nothing to the largest."""
    top = max(values) or 1
    return "".join(_BARS[min(int(value / top * len(_BARS)), len(_BARS) - 1)] for value in values)


def _sessions(sessions: Sessions | None) -> list[str]:
    if sessions is None:
        return []
    lines = [f"  sessions           {sessions.count:,}", f"    turns            {_spread(sessions.turns, '')}"]
    if sessions.think_s:
        lines.append(f"    turn to turn     {_spread(sessions.think_s, ' s')}   (answer and think time)")
    return lines


def _spread(spread: Spread, unit: str) -> str:
    return f"mean {_short(spread.mean)}{unit}   CV {_short(spread.cv)}   p50 {_short(spread.p50)}{unit}"


def _utterances(found: Description) -> list[str]:
    log = found.log
    sizes = {"words": log.words, "characters": log.characters, "tokens": log.tokens}
    lines = [f"    {name:<17}{_sizes(histogram)}" for name, histogram in sizes.items() if histogram.total]
    if found.repeats:
        lines.append(
            f"    repeats          {format_share(found.repeats.share)} of the texts came before, "
            f"{format_share(found.repeats.recent)} within the last {RECENT:,} rows"
        )
    if log.intents:
        lines.append(f"    intents          {len(log.intents):,}: {_top(log.intents)}")
    return ["  utterances", *lines] if lines else []


def _sizes(histogram: Histogram) -> str:
    shares = "   ".join(f"p{share * 100:.0f} {histogram.percentile(share):,}" for share in (0.5, 0.9, 0.99))
    return f"mean {histogram.mean:.1f}   {shares}   longest {len(histogram.counts) - 1:,}"


def _top(intents: Counter[str]) -> str:
    total = intents.total()
    told = ", ".join(f"{intent} {format_share(count / total)}" for intent, count in intents.most_common(_TOP))
    return told + (", ..." if len(intents) > _TOP else "")


def _fit(found: Description, fit: Fit | None) -> list[str]:
    if fit is None or found.starting is None:
        return []
    if not fit.candidates:
        return [f"  {found.starting.count} arrivals are too few to tell a process from chance; replay them"]
    whose = "the starts of sessions" if found.conversing else "the arrivals"
    names = list(fit.candidates[0].measured)
    head = ["", *(name.replace("dispersion ", "").replace("cv", "CV") for name in names), "off by", ""]
    log = ["the log", *(_short(value) for value in fit.candidates[0].measured.values()), "", ""]
    rows = [_row(one) for one in fit.candidates]
    return [
        f"  what reproduces {whose}: CV of gaps, dispersion of counts by window, the largest error",
        *table.lines([head, log, *rows], left=(0, len(head) - 1), indent="    "),
        *(f"  {line}" for line in _judgement(fit)),
    ]


def _row(one: Candidate) -> list[str]:
    name = one.process.name if one.process.weights else one.process.option
    sign = "within 5 %" if one.within else ("as chance may have it" if one.likely else "no")
    return [name, *(_short(value) for value in one.means.values()), _off(one), sign]


def _off(one: Candidate) -> str:
    return f"{min(one.worst, 99.99) * 100:.3g} %"


def _judgement(fit: Fit) -> Iterator[str]:
    if fit.chosen is None:
        best = min(fit.candidates, key=lambda one: one.worst)
        yield (
            f"no process here reproduces it: the nearest is {best.process.name}, off by {_off(best)} "
            f"where {NEAR:.0%} is the bound; replay the trace"
        )
        return
    name = fit.chosen.process.name.partition(",")[0]
    yield f"{name}: {_MEANINGS[name]}"
    if not fit.chosen.within:
        yield (
            f"off by more than {NEAR:.0%}, but no further than chance takes 99 of 100 simulated logs of this length; "
            "a replay is exact"
        )


def _options(reproduced: Reproduction) -> list[str]:
    lines = ["  options that reproduce it"]
    lines += [f"    {flag:<12} {value}" for flag, value in reproduced.options.items()]
    if reproduced.replay:
        lines.append(f"    or, exactly  --arrivals {reproduced.replay}")
    return [*lines, *(f"    note: {note}" for note in reproduced.missing)]


def _short(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def stand_ins(rows: int, blank: int, made: StandIns) -> str:
    """One line on a log that was written with stand-ins."""
    tokens = f"{rows - made.missed:,} of their very number of tokens" if made.language.count else "of about as many tokens"
    shared = f"; {made.shared:,} share theirs with another text" if made.shared else ""
    left = f"; {blank:,} rows without a text left out" if blank else ""
    return f"{rows:,} texts replaced by others of the same length, {tokens}{shared}{left}"


def machine(found: Description, fit: Fit | None, reproduced: Reproduction) -> dict[str, Any]:
    """All of it as JSON's values; docs/reference/describe.md has the fields."""
    log = found.log
    return {
        "schema": 1,
        "file": log.file,
        "rows": log.rows,
        "columns": {name: value or None for name, value in vars(log.columns).items()},
        "sorted_here": log.sorted_here,
        "tick_s": log.times.tick_s if log.times else None,
        "blank": log.blank,
        "arrivals": _traffic_machine(found.traffic),
        "sessions": _sessions_machine(found.sessions),
        "words": _sizes_machine(log.words),
        "characters": _sizes_machine(log.characters),
        "tokens": _sizes_machine(log.tokens),
        "lengths": length_bands(log.words),
        "repeats": vars(found.repeats) if found.repeats else None,
        "intents": dict(log.intents.most_common()),
        "fit": _fit_machine(fit),
        "options": reproduced.options,
        "replay": reproduced.replay or None,
        "missing": list(reproduced.missing),
        "command": reproduced.command,
    }


def _traffic_machine(traffic: Traffic | None) -> dict[str, Any] | None:
    if traffic is None:
        return None
    told = {name: value for name, value in vars(traffic).items() if name not in ("offsets_s", "rates", "burstiness")}
    dispersion = {str(window_s): value for window_s, value in traffic.burstiness.dispersion.items()}
    return told | {"rates": traffic.rates.tolist(), "cv": traffic.burstiness.cv, "dispersion": dispersion}


def _sessions_machine(sessions: Sessions | None) -> dict[str, Any] | None:
    if sessions is None:
        return None
    return {
        "count": sessions.count,
        "turns": vars(sessions.turns),
        "think_s": vars(sessions.think_s) if sessions.think_s else None,
        "starts": _traffic_machine(sessions.starts),
    }


def _sizes_machine(histogram: Histogram) -> dict[str, Any] | None:
    if not histogram.total:
        return None
    shares = {f"p{share * 100:g}": histogram.percentile(share) for share in (0.5, 0.9, 0.95, 0.99)}
    return {"mean": histogram.mean, **shares, "max": len(histogram.counts) - 1}


def _fit_machine(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    chosen = fit.chosen
    return {
        "of": fit.candidates[0].measured if fit.candidates else {},
        "candidates": [
            {
                "process": one.process.name,
                "option": one.process.option,
                "simulated": one.means,
                "low": one.low,
                "high": one.high,
                "errors": one.errors,
                "within": one.within,
                "likely": one.likely,
            }
            for one in fit.candidates
        ],
        "chosen": chosen.process.option if chosen else None,
        "weights": list(chosen.process.weights) if chosen else [],
    }
