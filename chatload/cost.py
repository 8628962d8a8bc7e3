"""Cost: what answers cost on rented instances, per million and per month.

A capacity is what was measured on one instance: the highest rate that met the objective, and the throughput at full load.
Money is in dollars, rates are per second; an instance is paid for by the hour, used or not, and at least one always runs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatload import arrival_spec, conditions, table
from chatload.history import Row
from chatload.units import format_share

HOURS_A_MONTH = 730  # 365 days / 12, as price lists of clouds reckon
_DAYS_A_MONTH = HOURS_A_MONTH / 24
_ABOUT = ("source", "date")  # of a list of prices
_DOTTED = re.compile(r"^[ \t]*([\w-]+(?:[ \t]*\.[ \t]*[\w-]+)+)[ \t]*=", re.MULTILINE)
# Answers that a server at its limit refuses or is too late with; other failures say nothing about how much it can do.
_TURNED_AWAY = ("http_503", "http_429", "timeout", "unfinished", "dropped")


class CostError(ValueError):
    """Something that has no price or no capacity; the message names it and what to do."""


@dataclass(frozen=True)
class Prices:
    """Dollars per hour by region and instance type, and where each price comes from."""

    dollars: Mapping[str, Mapping[str, float]]
    origin: Mapping[tuple[str, str], str]

    def of(self, region: str, instance: str) -> float:
        """The price of an instance type. Raises CostError when it is not listed."""
        if region not in self.dollars:
            raise CostError(
                f"no prices for region {region!r}: known are {', '.join(sorted(self.dollars))}; add it with --prices"
            )
        if instance not in self.dollars[region]:
            known = ", ".join(sorted(self.dollars[region]))
            raise CostError(f"no price for {instance!r} in {region}: known are {known}; add it with --prices")
        return self.dollars[region][instance]

    def origins(self, region: str, instances: Sequence[str]) -> str:
        """Where the prices of some instance types come from, for people: one line a source."""
        named: dict[str, list[str]] = {}
        for instance in instances:
            named.setdefault(self.origin[region, instance], []).append(instance)
        return "".join(f"prices in {region} of {', '.join(types)}: {origin}\n" for origin, types in named.items())


def check_keys(text: str, file: str) -> None:
    """Raises CostError for an instance type without quotes in a prices.toml: TOML takes its first part for a region."""
    dotted = _DOTTED.search(text)
    if dotted:
        line = text.count("\n", 0, dotted.start(1)) + 1
        raise CostError(f'{file}, line {line}: write "{dotted[1]}" in quotes, below its [region]')


def prices(content: Mapping, file: str) -> Prices:
    """Prices from the content of a prices.toml. Raises CostError for what is no price."""
    found: dict[str, dict[str, float]] = {}
    for region, listed in content.items():
        if region in _ABOUT:
            continue
        if not isinstance(listed, dict):
            raise CostError(f"{file}: {region} = {listed!r} stands outside a region: write it below one, as [us-east-1]")
        for instance, price in listed.items():
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 < price < math.inf:
                raise CostError(f"{file}: {region}.{instance} = {price!r} is not a price: write dollars per hour, above 0")
            found.setdefault(region, {})[instance] = float(price)
    origin = f"{content.get('source', file)}, {content.get('date', 'no date')}"
    return Prices(found, {(region, instance): origin for region, listed in found.items() for instance in listed})


def overridden(shipped: Prices, own: Prices) -> Prices:
    """The shipped prices with the user's own in place of theirs and beside them."""
    regions = {*shipped.dollars, *own.dollars}
    merged = {region: {**shipped.dollars.get(region, {}), **own.dollars.get(region, {})} for region in regions}
    return Prices(merged, {**shipped.origin, **own.origin})


@dataclass(frozen=True)
class Capacity:
    """Of one instance: the highest rate (/s) that met the objective, and the answers per second at full load.

    None where no run shows it. ``left_out`` names the runs that say nothing about either, with why.
    """

    objective_rate: float | None
    full_load: float | None
    left_out: tuple[str, ...] = ()


def capacity(rows: Sequence[Row]) -> Capacity:
    """What a series of runs at several rates shows of one instance.

    The highest rate that passed below the lowest at which a run failed or the server could not keep up: a pass above that
    was luck. Only runs at one rate count: a day's curve passes by its calm hours.
    """
    why = {row.name: _why_not(row) for row in rows}
    used = [row for row in rows if not why[row.name]]
    failed = min((row.rate for row in used if row.outcome == "fail" or row.overloaded), default=math.inf)
    why |= {
        row.name: f"it passed at {row.rate:g}/s, but a run at {failed:g}/s did not: luck"
        for row in used
        if row.outcome == "pass" and row.rate >= failed
    }
    best = max((row.rate for row in used if row.outcome == "pass" and row.rate < failed), default=None)
    full = [row.throughput.value for row in used if _at_full_load(row) and (row.throughput.high or 0) >= (best or 0)]
    left_out = tuple(f"{name}: {reason}" for name, reason in why.items() if reason)
    return Capacity(best, max(filter(None, full), default=None), left_out)


def _why_not(row: Row) -> str:
    """Why a run says nothing about an instance's capacity; empty where it does."""
    if not _steady(row):
        return f"{row.conditions['arrivals']} has no one rate"
    if row.edited:
        return "its rate was changed while it ran"
    if row.faults and not row.overloaded:
        return f"invalid: {row.faults[0]}"
    if row.outcome == "invalid" and not row.overloaded:
        return "its objective was not decided"
    return ""


def _steady(row: Row) -> bool:
    return arrival_spec.parse(row.conditions["arrivals"]).stationary


def _at_full_load(row: Row) -> bool:
    """Whether a run was offered more than it answered, beyond chance, because the server was at its limit."""
    failed = {name: count for name, count in row.outcomes.items() if name not in ("ok", "wrong")}
    turned_away = sum(failed.get(name, 0) for name in _TURNED_AWAY)
    at_its_limit = row.overloaded or turned_away > sum(failed.values()) / 2
    return at_its_limit and row.throughput.high is not None and row.throughput.high < row.offered_rate


def check_alike(rows: Sequence[Row]) -> None:
    """Raises CostError unless all runs at one rate were made under the same conditions, so that their capacities compare."""
    steady = [row for row in rows if _steady(row)]
    for row in steady[1:]:
        found = conditions.differences(steady[0].conditions, row.conditions, apart_from=("rate",))
        if found:
            raise CostError(f"{steady[0].name} and {row.name} cannot be priced together: {'; '.join(found)}")


def per_million(dollars_per_hour: float, rate: float) -> float:
    """Dollars for a million answers on one instance that gives ``rate`` answers per second."""
    return dollars_per_hour / 3600 / rate * 1e6


@dataclass(frozen=True)
class Monthly:
    """A month's bill: as many instances as the busiest hour needs, all month; or as many as each hour needs.

    ``utilisation`` is the share of the fixed instances' capacity that the month's traffic uses.
    """

    instances: int
    fixed_dollars: float
    scaled_dollars: float
    utilisation: float


def monthly(dollars_per_hour: float, objective_rate: float, questions: float, curve: Sequence[float]) -> Monthly:
    """The bill for ``questions`` a month, spread over each day by ``curve``, the weights of its equal parts (24: hours)."""
    total, part_hours = sum(curve), 24 / len(curve)
    a_day = questions / _DAYS_A_MONTH
    needed = [max(math.ceil(a_day * weight / total / (part_hours * 3600) / objective_rate), 1) for weight in curve]
    most = max(needed)
    return Monthly(
        most,
        most * dollars_per_hour * HOURS_A_MONTH,
        sum(needed) * part_hours * dollars_per_hour * _DAYS_A_MONTH,
        questions / (most * objective_rate * HOURS_A_MONTH * 3600),
    )


def busiest(questions: float, curve: Sequence[float]) -> float:
    """Questions per second in the busiest part of a day, of ``questions`` a month spread by ``curve``."""
    return questions / (HOURS_A_MONTH * 3600) * _peak(curve)


def at_peak(dollars_per_hour: float, objective_rate: float, peak_rate: float) -> tuple[int, float]:
    """(instances, dollars a month) that a peak of so many questions per second needs, all month."""
    instances = max(math.ceil(peak_rate / objective_rate), 1)
    return instances, instances * dollars_per_hour * HOURS_A_MONTH


def peaked(peak: float) -> list[float]:
    """24 hourly weights, highest at 14:00 with ``peak`` times the mean: exp(k * (cos - 1)) with the k that gives it.

    Raises CostError for a peak that no such curve has.
    """
    if not 1 <= peak <= 12:
        raise CostError(
            f"a peak of {peak:g} times the mean hour: write a number from 1 to 12, or a curve of your own with --day"
        )
    low, high = 0.0, 200.0
    for _ in range(60):  # the peak rises with k
        k = (low + high) / 2
        low, high = (k, high) if _peak(_bell(k)) < peak else (low, k)
    return _bell(low)


def _bell(k: float) -> list[float]:
    return [math.exp(k * (math.cos(2 * math.pi * (hour - 14) / 24) - 1)) for hour in range(24)]


def _peak(curve: Sequence[float]) -> float:
    return max(curve) * len(curve) / sum(curve)


@dataclass(frozen=True)
class Target:
    """One instance type with its price and what was measured on it."""

    instance: str
    dollars_per_hour: float
    capacity: Capacity


def text(targets: Sequence[Target], questions: float, curve: Sequence[float]) -> str:
    """What chatload cost prints: each target's cost per million answers, its monthly bill, and which one is cheapest."""
    head = ["", "$ an hour", "within the objective", "$ per million", "full load", "$ per million"]
    rates = [_rate_cells(target) for target in targets]
    bills = {
        target.instance: monthly(target.dollars_per_hour, target.capacity.objective_rate, questions, curve)
        for target in targets
        if target.capacity.objective_rate
    }
    busiest_rate, times = busiest(questions, curve), _peak(curve)
    bill_head = ["", "instances", "$ a month", "scaled each hour", "used", ""]
    return "\n".join(
        [
            *table.lines([head, *rates]),
            "",
            f"{questions:,.0f} questions a month; {busiest_rate:,.3g}/s in the busiest hour, {times:.3g} times the mean",
            *table.lines([bill_head, *[_bill_cells(target, bills.get(target.instance)) for target in targets]], left=(0, 5)),
            "",
            _cheapest(bills),
            *[f"left out of {target.instance}: {reason}" for target in targets for reason in target.capacity.left_out],
            "",
        ]
    )


def at_rates(rows: Sequence[tuple[str, str, float, float]]) -> str:
    """Cost per million answers at rates that were run, from (name, instance type, dollars per hour, answers per second)."""
    cells = [
        [name, instance, f"{dollars:.4f}", f"{rate:,.4g}/s", f"{per_million(dollars, rate):,.3f}" if rate else "-"]
        for name, instance, dollars, rate in rows
    ]
    return "\n".join(table.lines([["", "instance", "$ an hour", "served", "$ per million"], *cells], left=(0, 1))) + "\n"


def _rate_cells(target: Target) -> list[str]:
    cells = [target.instance, f"{target.dollars_per_hour:.4f}"]
    for rate in (target.capacity.objective_rate, target.capacity.full_load):
        cells += [f"{rate:,.4g}/s", f"{per_million(target.dollars_per_hour, rate):,.3f}"] if rate else ["not seen", "-"]
    return cells


def _bill_cells(target: Target, bill: Monthly | None) -> list[str]:
    if bill is None:
        return [target.instance, "-", "-", "-", "-", "no run met the objective"]
    floor = "one instance is the floor" if bill.instances == 1 else ""
    dollars = [f"{bill.fixed_dollars:,.2f}", f"{bill.scaled_dollars:,.2f}"]
    return [target.instance, f"{bill.instances:,}", *dollars, format_share(bill.utilisation), floor]


def _cheapest(bills: Mapping[str, Monthly]) -> str:
    if not bills:
        return "no target met the objective in any run"
    fixed = min(bills, key=lambda instance: bills[instance].fixed_dollars)
    scaled = min(bills, key=lambda instance: bills[instance].scaled_dollars)
    line = f"cheapest within the objective: {fixed}, ${bills[fixed].fixed_dollars:,.2f} a month"
    return line if fixed == scaled else f"{line}; scaled each hour: {scaled}, ${bills[scaled].scaled_dollars:,.2f}"
