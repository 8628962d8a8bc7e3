"""Capacity report: a search as capacity.json and as text for people (docs/reference/capacity.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatload import capacity, cost
from chatload.capacity import End, Plan, Probe
from chatload.report import interval, number
from chatload.statistics import PERCENTILES, needed_samples, percentile_name
from chatload.units import format_duration

SCHEMA = 1
FILE = "capacity.json"
SEARCHING = "searching"
_PERCENTILES = ("p50", "p90", "p95", "p99", "p99.9", "p99.99", "mean")
_SHARE_OF = {percentile_name(share): share for share in PERCENTILES}
_WHERE = {
    "lag": "generator's lag",
    "queue": "queue, front end, network",
    "tokenize": "server: tokenize",
    "infer": "server: infer",
}
_SAID = {capacity.FOUND: "FOUND", capacity.NONE: "NONE", capacity.UNDECIDED: "NOT DECIDED", SEARCHING: "NOT FINISHED"}


def probe(found: Probe, content: Mapping, folder: str) -> dict[str, Any]:
    """A probe as capacity.json has it, from what it showed and its run.json's content."""
    summary = content["summary"]
    return {
        "folder": folder,
        "rate": found.rate,
        "purpose": found.purpose,
        "answer": found.answer,
        "why": found.why,
        "samples": found.samples,
        "seconds": found.seconds,
        "offered_rate": found.offered,
        "throughput": summary["throughput"],
        "errors": summary["errors"],
        "p": {name: summary["latency_ms"][name] for name in _PERCENTILES},
        "where_ms": _where_ms(summary),
    }


def _where_ms(summary: Mapping) -> dict[str, float | None]:
    """The mean of each part of the latency; None where the answers have no server timings."""
    lag, service = summary["lag_ms"]["mean"]["value"], summary["service_ms"]["mean"]["value"]
    steps = {name: summary["server_ms"][name]["mean"]["value"] for name in ("tokenize", "infer")}
    known = service is not None and None not in steps.values()
    return {"lag": lag, "queue": service - sum(steps.values()) if known else None, **steps}


def content(
    plan: Plan, probes: Sequence[Probe], told: Sequence[dict], end: End | None, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of capacity.json; ``told`` are the probes as probe() has them, ``end`` is None while it goes on."""
    best = capacity.estimate(probes, plan) if end is None else end.answer
    low, high = capacity.bracket(probes, plan)
    return {
        "schema": SCHEMA,
        "state": SEARCHING if end is None else end.outcome,
        "started": facts["started"],
        "host": facts["host"],
        "objective": facts["objective"],
        "limit_ms": {clause.subject: clause.limit for clause in capacity.latency_clauses(plan.clauses)},
        "answer": None if end is None or end.answer is None else _crossing(end.answer),
        "so_far": None if best is None or end is not None else _crossing(best),
        "reason": "" if end is None else end.reason,
        "bracket": [low, high],
        "saturation": _saturation(probes),
        "knee": _knee(told, best.rate) if best else None,
        "cost_per_million": _cost(facts["price"], end),
        "probes": list(told),
    }


def _crossing(found: capacity.Crossing) -> dict[str, float]:
    return {"rate": found.rate, "low": found.low, "high": found.high}


def _saturation(probes: Sequence[Probe]) -> dict[str, Any]:
    """Answers per second at full load: the most that any probe gave, where one was offered more than it answered.

    ``at_least``: that probe kept up with what it was offered, so full load is more. ``overloaded``: what a server answered
    that was offered the most, where it was less than that, beyond chance.
    """
    answered = [probe for probe in probes if probe.throughput.value and probe.answer != capacity.INVALID]
    if not any(map(_is_overloaded, answered)):
        return {"throughput": None, "at_least": False, "overloaded": None}
    best = max(answered, key=lambda probe: probe.throughput.value or 0)
    most = max(answered, key=lambda probe: probe.offered)
    collapsed = _is_overloaded(most) and (most.throughput.high or 0) < (best.throughput.low or 0)
    return {
        "throughput": best.throughput.value,
        "at_least": not _is_overloaded(best),
        "overloaded": {"offered": most.offered, "throughput": most.throughput.value} if collapsed else None,
    }


def _is_overloaded(probe: Probe) -> bool:
    """Whether a probe was offered more than it answered, beyond chance."""
    return probe.throughput.high is not None and probe.throughput.high < probe.offered


def _knee(told: Sequence[dict], rate: float) -> dict[str, Any] | None:
    """Where the time goes at the probe nearest to a rate."""
    nearest = min(told, key=lambda one: abs(one["rate"] - rate), default=None)
    return nearest and {"rate": nearest["rate"], "folder": nearest["folder"], **nearest["where_ms"]}


def _cost(price: Mapping[str, Any] | None, end: End | None) -> dict[str, Any] | None:
    if price is None or end is None or end.answer is None:
        return None
    return {**price, "dollars": cost.per_million(price["dollars_per_hour"], end.answer.rate)}


def check(found: Any) -> None:
    """Raises ValueError where ``found`` is no capacity.json's content of this version."""
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"schema {schema!r}, not {SCHEMA}")


def begin(plan: Plan, host: str) -> str:
    """The line at the start of a search."""
    wanted = ",".join(clause.text for clause in plan.clauses)
    return (
        f"capacity: {host} within {wanted}, from {plan.lowest_rate:g}/s on, "
        f"at most {plan.most_probes} probes of {format_duration(plan.probe_s)}"
    )


def line(serial: int, state: Mapping) -> str:
    """The line after a probe, from capacity.json's content: what it showed, and how near the answer is."""
    told, known = state["probes"][-1], state["answer"] or state["so_far"]
    name = next(iter(state["limit_ms"]))
    latency = f"{name} {_latency(told, name, '{:>6} ms ({})')}"
    near = f"capacity {rate_text(known['low'])} to {rate_text(known['high'])}" if known else "not yet bracketed"
    return (
        f"capacity: probe {serial:>2}  {told['purpose']:<8}{told['rate']:>9,.1f}/s  {told['seconds']:>5.1f} s  "
        f"{told['answer']:<10}{latency:<36}  {near}"
    )


def _latency(told: Mapping, name: str, form: str) -> str:
    """A probe's latency of a name with its interval in ``form``, for people."""
    found = told["p"][name]
    if found["value"] is not None:
        return form.format(number(found["value"]), interval(found))
    return "no answer" if never_came(told, name) else "-"


def never_came(told: Mapping, name: str) -> bool:
    """Whether failures reach into a probe's percentile: it is null, as one is that too few samples would carry."""
    found = told["p"][name]
    if found["value"] is not None:
        return False
    return found["low"] is not None or (name in _SHARE_OF and told["samples"] >= needed_samples(_SHARE_OF[name]))


def rate_text(rate: float | None) -> str:
    """A rate for people."""
    return "-" if rate is None else f"{rate:,.1f}/s"


def text(found: Mapping, folder: str) -> str:
    """What is printed at the end of a search, from capacity.json's content."""
    lines = [f"chatload capacity: {found['host']} within {found['objective']}", "", *_table(found), ""]
    lines += [f"  capacity   {answer(found)}"]
    lines += [f"    - {found['reason']}"] if found["reason"] else []
    lines += _full_load_lines(found["saturation"])
    lines += _cost_lines(found["cost_per_million"]) + _knee_lines(found["knee"])
    return "\n".join([*lines, f"  folder     {folder}"]) + "\n"


def _full_load_lines(saturation: Mapping) -> list[str]:
    if not saturation["throughput"]:
        return []
    more, overloaded = " or more" if saturation.get("at_least") else "", saturation.get("overloaded")
    only = ""
    if overloaded:
        only = f"; of {rate_text(overloaded['offered'])} offered only {rate_text(overloaded['throughput'])}"
    return [f"  full load  {rate_text(saturation['throughput'])}{more} answered{only}"]


def answer(found: Mapping) -> str:
    """What a search came to, from capacity.json's content."""
    said, known = _SAID[found["state"]], found["answer"] or found["so_far"]
    if known is None:
        return said
    return f"{said}: {rate_text(known['rate'])} (95 % interval {rate_text(known['low'])} to {rate_text(known['high'])})"


def _table(found: Mapping) -> list[str]:
    subjects = list(found["limit_ms"])
    head = f"  {'rate':>10}  {'answer':<10}{'samples':>9}  " + "  ".join(f"{name + ', ms':<28}" for name in subjects)
    rows = [
        f"  {rate_text(told['rate']):>10}  {told['answer']:<10}{told['samples']:>9,}  "
        + "  ".join(f"{_latency(told, name, '{} ({})'):<28}" for name in subjects)
        for told in sorted(found["probes"], key=lambda one: one["rate"])
    ]
    return [line.rstrip() for line in [head, *rows]]


def _cost_lines(price: Mapping | None) -> list[str]:
    if price is None:
        return []
    named = f"{price['instance']} in {price['region']} ({price['source']})"
    return [f"  cost       ${price['dollars']:,.3f} per million answers on {named}"]


def _knee_lines(knee: Mapping | None) -> list[str]:
    if knee is None:
        return []
    parts = [f"{name} {number(knee[key])}" for key, name in _WHERE.items()]
    return [f"  at {rate_text(knee['rate'])}, mean ms: {'; '.join(parts)}"]
