"""HTML report: a run as one page that needs nothing else: no network, no file beside it.

The page is report_page.html in the frame of chatload.page. Every plot has its key numbers in a table beside it: the page can
be read without scripts, and printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from chatload import figures, objective, page, plots, report, runfolder, statistics
from chatload.units import format_duration, format_ms, format_share

_SHARES = {statistics.percentile_name(share): share for share in statistics.PERCENTILES}
_MEANINGS = {
    "pass": "The run is valid, and every clause of its objective is met.",
    "fail": "The run is valid, and it missed its objective.",
    "invalid": "This run cannot say whether the objective is met.",
}
_LISTED_ELSEWHERE = {"generators", "conduct"}


def html(content: dict, drawn: figures.Figures) -> str:
    """report.html for the content of run.json and the figures of its samples."""
    run, summary = content["run"], {"by_turn": {}, **content["summary"]}  # older runs have no turns
    cpu = figures.cpu(run["generators"])
    made = plots.draw(drawn, cpu, _limits_ms(run["objective"]), run["warmup_s"])
    return page.render(
        "report_page.html",
        made,
        _FILTERS,
        run=run,
        summary=summary,
        verdict=content["verdict"],
        meaning=_MEANINGS[content["verdict"]["outcome"]],
        percentiles=_percentiles(summary),
        drawn=drawn,
        parts=list(dict.fromkeys(part for band in drawn.bands for part in band.parts_ms)),
        most_in_a_cell=int(drawn.heat.counts.max()) if drawn.heat is not None else 0,
        intents_drawn=len(plots.most_frequent(drawn.intents)),
        health=_health(run, summary),
        settings=_flat({name: value for name, value in run.items() if name not in _LISTED_ELSEWHERE}),
        processes=[_process(facts) for facts in run["generators"]],
    )


def _limits_ms(text: str) -> dict[float, float]:
    clauses = objective.parse(text)
    return {_SHARES[clause.subject]: clause.limit for clause in clauses if clause.subject in _SHARES}


def _percentiles(summary: dict) -> list[dict]:
    """The rows of the table of percentiles: name, latency with its interval or why there is none, service time and lag."""
    rows = []
    for name, share in _SHARES.items():
        value = report.latency(summary, share).value
        estimate = summary["latency_ms"][name]
        rows.append(
            {
                "name": name,
                "value": report.number(value),
                "interval": f"needs {statistics.needed_samples(share):,} arrivals" if value is None else _or_none(estimate),
                "service": report.number(summary["service_ms"][name]["value"]),
                "lag": report.number(summary["lag_ms"][name]["value"]),
            }
        )
    return rows


def _or_none(estimate: dict) -> str:
    """Its interval; a percentile that lies among failures for sure has none."""
    return "" if estimate["low"] is None else report.interval(estimate)


def _latency(estimate: objective.Estimate) -> str:
    return report.number(estimate.value)


def _share_interval(estimate: dict) -> str:
    return f"{report.share(estimate['low'])} to {report.share(estimate['high'])}" if estimate["low"] is not None else "-"


def _health(run: dict, summary: dict) -> list[tuple[str, str, str]]:
    """(what, how it was in this run, why it matters) for everything that could make a run invalid."""
    conduct = run["conduct"]
    settled = "from the start" if conduct["settled_s"] is None else f"after {conduct['settled_s']:.1f} s"
    lag_ms = summary["lag_ms"]
    lag = [
        f"{name} {format_ms(lag_ms[name]['value'])}" for name in ("p50", "p99", "p99.9") if lag_ms[name]["value"] is not None
    ]
    return [
        ("lag, ms", ", ".join(lag) or "-", "how late the generator sent; bound: 10 % of the latency, at least 1 ms, at p99"),
        (
            "busiest process",
            format_share(conduct["cpu_share"]) + " of a core",
            "above 90 %, the generator is the bottleneck",
        ),
        (
            "arrivals",
            f"{summary['planned']:,}, planned {conduct['expected']:,.0f}",
            "the offered rate has to be the planned one",
        ),
        (
            "arrival process",
            "departs from the plan" if conduct["departs"] else "as planned",
            "bursts of the generator's own",
        ),
        ("dropped", f"{summary['dropped']:,}", "arrivals beyond the bound on requests in flight"),
        ("lost processes", ", ".join(conduct["lost"]) or "none", "what they sent last would be unknown"),
        ("interrupted", conduct["interrupted"] or "no", "by a signal, before its time"),
        ("aborted", conduct["aborted"] or "no", "by --abort-when, before its time"),
        (
            "requests in flight, end to start",
            f"{conduct['trend']:.2f} times",
            "a queue that grows has no latency of its own",
        ),
        ("latency settled", settled, "a server that still warms up is measured too early"),
    ]


def _process(facts: dict) -> list[tuple[str, str]]:
    """A generator process's facts; its rates, one for every stream that started, are told by their last."""
    shown = {name: value for name, value in facts.items() if name not in ("cpu", "rates")}
    rates = [rate for _, rate in facts["rates"]]
    return [*_flat(shown), ("rate at the end, /s", f"{rates[-1]:g}, after {len(rates)} changes" if rates else "-")]


def _flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every value in nested objects with its dotted name, as text."""
    if isinstance(value, dict) and value:
        return [pair for key, part in value.items() for pair in _flat(part, f"{name}.{key}" if name else str(key))]
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


_FILTERS: dict[str, Callable[..., Any]] = {
    "ms": report.number,
    "arrivals": report.arrivals,
    "rates": report.rates,
    "latency": _latency,
    "rate": lambda value: report.number(value, "{:,.1f}"),
    "share": report.share,
    "interval": report.interval,
    "share_interval": _share_interval,
    "duration": format_duration,
    "plain": runfolder.plain,
}
