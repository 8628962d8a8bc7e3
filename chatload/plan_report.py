"""Plan report: a plan as a table for people and as JSON, with what of it was measured and what was forecast."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from chatload import cost, forecast, table
from chatload.forecast import RUNS, Spread
from chatload.plan import Candidate, Choice, Terms, decisive
from chatload.units import format_ms, format_share

_ASSUMED = ("", "every day alike; instances alike, behind a balancer that takes no time; none to spare for one that is lost")


@dataclass(frozen=True)
class Demand:
    """A month's ``questions`` spread over each day by ``curve``; ``questions`` is None where only a peak was asked for."""

    questions: float | None
    curve: Sequence[float]


def text(terms: Terms, demand: Demand, choices: Sequence[Choice]) -> str:
    """What chatload plan prints."""
    objective = ",".join(clause.text for clause in terms.clauses)
    at_peak = f"{terms.latency.subject} at the peak, ms"
    head = ["", "$ an hour", "one carries", "95 % interval", "", "instances", "$ a month", "$ per million", at_peak, ""]
    known = [[f"  {choice.candidate.basis}", *_known_from(choice.candidate)] for choice in choices]
    lines = [
        f"plan: {_traffic(terms, demand)}",
        f"  {objective}; {terms.process} arrivals, {terms.routing} over the instances",
        *_skipped(terms),
        "",
        *table.lines([head, *[_cells(choice, demand) for choice in choices]], left=(0, 3, 4, 9)),
        "",
        _cheapest(decisive(choices)),
        *table.lines([*known, ["  assumed", *_ASSUMED]], left=(0, 1, 2), indent=""),
    ]
    return "\n".join(lines) + "\n"


def machine(terms: Terms, demand: Demand, choices: Sequence[Choice], grown: dict[str, list[tuple[float, int]]]) -> dict:
    """The same for machines, with the instances at other traffic (plan.growth); runfolder.plain makes JSON of it."""
    best = decisive(choices)
    return {
        "schema": 1,
        "traffic": {"questions_per_month": demand.questions, "peak": terms.peak, "arrivals": terms.process},
        "objective": ",".join(clause.text for clause in terms.clauses),
        "routing": terms.routing,
        "queue": terms.queue_limit,
        "seed": terms.seed,
        "choices": [_machine(choice) for choice in choices],
        "cheapest": best[0].candidate.instance if best else None,
        "at_other_traffic": {
            instance: [{"rate": rate, "instances": instances} for rate, instances in sizes]
            for instance, sizes in grown.items()
        },
    }


def _machine(choice: Choice) -> dict:
    candidate = choice.candidate
    return {
        "instance": candidate.instance,
        "dollars_per_hour": candidate.dollars_per_hour,
        "basis": candidate.basis,
        "from": candidate.about,
        "carries": choice.carries and asdict(choice.carries),
        "instances": choice.instances,
        "dollars_per_month": choice.dollars if choice.instances else None,
        "latency_ms": choice.latency_ms and asdict(choice.latency_ms),
        "reason": choice.reason,
    }


def _traffic(terms: Terms, demand: Demand) -> str:
    if demand.questions is None:
        return f"{terms.peak:,.4g}/s at the peak"
    times = terms.peak / cost.busiest(demand.questions, [1.0])
    return f"{demand.questions:,.0f} questions a month, {terms.peak:,.3g}/s in the busiest hour, {times:.3g} times the mean"


def _skipped(terms: Terms) -> list[str]:
    planned = forecast.forecastable(terms.clauses)
    return [f"  not planned for: {clause.text}" for clause in terms.clauses if clause not in planned]


def _cells(choice: Choice, demand: Demand) -> list[str]:
    candidate, carries = choice.candidate, choice.carries
    cells = [candidate.instance, f"{candidate.dollars_per_hour:.4f}"]
    cells += [f"{carries.value:,.4g}/s", f"{carries.low:,.4g} to {carries.high:,.4g}"] if carries else ["-", "-"]
    cells.append(candidate.basis)
    if not choice.instances:
        return [*cells, "-", "-", "-", "-", choice.reason]
    per_million = f"{choice.dollars / demand.questions * 1e6:,.2f}" if demand.questions else "-"
    floor = "the floor" if choice.instances == 1 else ""
    return [*cells, f"{choice.instances:,}", f"{choice.dollars:,.2f}", per_million, _latency(choice.latency_ms), floor]


def _latency(found: Spread | None) -> str:
    return f"{format_ms(found.value)} ({format_ms(found.low)} to {format_ms(found.high)})" if found else "-"


def _cheapest(best: Sequence[Choice]) -> str:
    if not best:
        return "no instance type carries this within the objective"
    first = best[0]
    count = f"{first.instances:,} instance{'' if first.instances == 1 else 's'}"
    return f"cheapest within the objective: {first.candidate.instance}, {count}, ${first.dollars:,.2f} a month"


def _known_from(candidate: Candidate) -> tuple[str, str]:
    """(instance type, what stands behind its numbers)."""
    if candidate.calibration is None:
        return candidate.instance, f"{candidate.about}; instances by the lower end of its interval"
    busy = format_share(candidate.calibration.utilisation)
    return candidate.instance, f"{candidate.about}, {busy} busy; the objective holds in all of {RUNS} simulated runs"
