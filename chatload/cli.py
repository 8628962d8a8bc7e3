"""Command line: chatload report, capacity, compare, cost, ... Files, arguments and exit codes; no arithmetic."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from pathlib import Path

from chatload import (
    __version__,
    arrivals,
    calibrated,
    calibration,
    candidates,
    capacity_report,
    chat_log,
    compare,
    compare_report,
    cost,
    describe_command,
    findings,
    fold,
    forecast,
    forecast_report,
    history,
    live,
    objective,
    plan,
    plan_report,
    prices,
    runfolder,
    runs,
    sides,
    simulation,
    units,
    verdict,
)


class OptionError(ValueError):
    """An option that cannot be used; the message names it and what would be right."""


_MISTAKES = (
    runfolder.RunFolderError,
    runs.RunsError,
    sides.SideError,
    compare.CompareError,
    cost.CostError,
    calibrated.TraceError,
    calibration.CalibrationError,
    forecast.ForecastError,
    candidates.CandidateError,
    plan.PlanError,
    objective.ObjectiveError,
    chat_log.LogError,
    OptionError,
)
_GATE_EXIT_CODES = {findings.SAME: 0, findings.WORSE: 1, findings.UNDECIDED: 2}


def main(arguments: list[str] | None = None) -> None:
    """Runs a command and exits: 0 when it did its work, 2 for a mistake in what it was given."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except _MISTAKES as error:
        print(f"chatload: {error}", file=sys.stderr)
        sys.exit(verdict.EXIT_CODES[verdict.INVALID])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chatload", description="Reads the results of load runs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="print a run's report again",
        description="Prints the report of a run from its folder, and writes its report.html, summary.md and junit.xml anew; "
        "finishes the folder first when the run was cut short.",
        epilog="example: chatload report results/20260101-120000-chatbot-1f3a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    report.set_defaults(command=_report)
    _add_capacity(commands)
    _add_compare(commands)
    _add_cost(commands)
    _add_forecast(commands)
    _add_plan(commands)
    _add_history(commands)
    describe_command.add(commands)
    _add_watch(commands)
    return parser


def _add_capacity(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "capacity",
        help="print a capacity search's report again",
        description="Prints the report of a search from its capacity.json, and writes its report.html anew.",
        epilog="example: chatload capacity results/20260101-120000-capacity-1f3a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the search's folder")
    parser.set_defaults(command=_capacity)


def _capacity(options: argparse.Namespace) -> None:
    from chatload import capacity_page  # takes half a second to import

    path = options.folder / capacity_report.FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        capacity_report.check(found)
    except OSError as error:
        raise OptionError(
            f"{options.folder} is not a search's folder: {path.name} cannot be read ({error.strerror})"
        ) from error
    except ValueError as error:
        raise OptionError(f"{path} is damaged or of another version of chatload ({error})") from error
    report = capacity_report.text(found, str(options.folder))
    _write(options.folder / "report.html", capacity_page.render(found, report))
    print(report, end="")


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare runs, repeated runs or in-process benchmarks with a baseline",
        description="Compares each SIDE with the first: ratios and differences with intervals, and whether they are\n"
        "real. A side is a run's folder, a folder of repeated runs (as make ab leaves them), or the CSV of make inprocess.",
        epilog="example: chatload compare results/before results/after --gate --margin 5%",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sides", type=Path, nargs="+", metavar="SIDE", help="what to compare; the first is the baseline")
    usual = ",".join(compare.USUAL_METRICS)
    parser.add_argument("--metrics", help=f"what to compare (default: those of {usual} that all sides know)")
    parser.add_argument("--margin", default="5%", help="the smallest ratio that matters (default: 5%%)")
    parser.add_argument(
        "--points", default="1%", help="the same for errors and accuracy, in percentage points (default: 1%%)"
    )
    parser.add_argument("--gate", action="store_true", help="exit 1 when worse than the baseline by more, 2 when undecided")
    parser.add_argument("--anyway", action="store_true", help="compare what differs in its conditions, or is invalid, too")
    parser.add_argument("--instances", default="", metavar="TYPE,TYPE", help="the instance type of each side, to price them")
    _add_price_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison for machines")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page, with latency by percentile plotted")
    parser.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> None:
    if not 2 <= len(options.sides) <= len(compare_report.LETTERS):
        raise OptionError(f"{len(options.sides)} sides: name from two to {len(compare_report.LETTERS)}")
    margins = findings.Margins(_share("--margin", options.margin), _share("--points", options.points))
    read = [sides.read(path) for path in options.sides]
    found = compare.against_first(read, _metrics(options.metrics), options.anyway)
    report = compare_report.text(found, margins, options.gate) + _priced(options, read)
    print(report, end="")
    if options.html:
        from chatload import plot_page  # takes half a second to import

        _write(options.html, plot_page.comparison(read, report))
    if options.json:
        _write(options.json, json.dumps(compare_report.machine(found, margins), indent=1, ensure_ascii=False) + "\n")
    if options.gate:
        every = [finding for comparison in found for finding in comparison.findings]
        sys.exit(_GATE_EXIT_CODES[findings.gate(every, margins)])


def _add_cost(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "cost",
        help="what answers cost on each instance type, and which is cheapest within the objective",
        description="Prices what runs have shown of each instance type: dollars per million answers at the highest rate\n"
        "that met the objective and at full load, and the bill for a month's traffic. RUNS is a run's folder, a folder\n"
        "of runs at several rates or of a capacity search, all with the same objective, corpus, model and arrivals.",
        epilog="example: chatload cost c7i.xlarge=results/cpu inf1.xlarge=results/inf1 --questions 100000 --peak 3",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("targets", nargs="+", metavar="INSTANCE=RUNS", help="an instance type and the runs against one")
    _add_price_options(parser)
    parser.add_argument("--questions", type=float, default=100_000, help="questions a month (default: 100000)")
    _add_curve_options(parser)
    parser.set_defaults(command=_cost)


def _cost(options: argparse.Namespace) -> None:
    listed = prices.read(options.prices)
    curve = _curve(options)
    _check_above_zero("--questions", options.questions)
    paths: dict[str, Path] = {}
    for text in options.targets:
        instance, equals, path = text.partition("=")
        if not equals or not path or instance in paths:
            raise OptionError(f"{text!r}: write each instance type once with its runs, for example c7i.xlarge=results/cpu")
        paths[instance] = Path(path)
    read = {name: [runs.row(folder, str(folder)) for folder in runs.folders(path)] for name, path in paths.items()}
    cost.check_alike([row for rows in read.values() for row in rows])
    targets = [
        cost.Target(name, listed.of(options.region, name), runs.searched(paths[name]) or cost.capacity(rows))
        for name, rows in read.items()
    ]
    print(cost.text(targets, options.questions, curve), end="")
    print(listed.origins(options.region, list(read)), end="")


def _add_forecast(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "forecast",
        help="latency and capacity at another rate or of more instances, simulated from one quiet run",
        description="Simulates the queue of a server that RUN has shown at low load, and says what of the forecast is\n"
        "measured, assumed and extrapolated.",
        epilog="example: chatload forecast results/quiet --rate 300 --instances 2 --routing least-outstanding",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a valid run with workers at most 40 %% busy")
    traffic = parser.add_mutually_exclusive_group(required=True)
    traffic.add_argument("--rate", type=float, help="arrivals per second")
    traffic.add_argument("--trace", type=Path, metavar="FILE", help="a CSV whose first column is each arrival's second")
    parser.add_argument("--duration", default="60s", help="length of a simulated run at a rate (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="workers that served RUN, of each instance (default: 1)")
    parser.add_argument("--instances", type=int, default=1, help="servers behind a balancer (default: 1)")
    parser.add_argument("--objective", help="what capacity is sought for (default: RUN's)")
    _add_queue_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the forecast for machines")
    parser.set_defaults(command=_forecast)


def _forecast(options: argparse.Namespace) -> None:
    for name, least, most in (("workers", 1, 1_000), ("instances", 1, 1_000), ("queue", 1, 1_000_000), ("seed", 0, 2**32)):
        _check_within(least, most, f"--{name}", getattr(options, name))
    run = calibrated.read(options.run, options.workers)
    timeout_s = _duration_s("--timeout", options.timeout) if options.timeout else run.timeout_s
    fleet = forecast.Fleet(options.instances, options.routing, options.queue, timeout_s)
    wanted = objective.parse(options.objective or run.objective)
    question = forecast_report.Question(run.about, run.calibration, _traffic(options), fleet, wanted, options.seed)
    found = forecast.forecast(run.calibration, question.traffic, fleet, wanted, options.seed)
    print(forecast_report.text(question, found), end="")
    if options.json:
        _write_json(options.json, forecast_report.machine(question, found))


def _traffic(options: argparse.Namespace) -> forecast.Traffic:
    if options.trace:
        return forecast.traced(calibrated.read_trace(options.trace))
    _check_above_zero("--rate", options.rate)
    return forecast.at_rate(options.arrivals, options.rate, _duration_s("--duration", options.duration))


def _add_plan(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "plan",
        help="how many instances of which type a traffic takes at its peak, and which is cheapest",
        description="Of each instance type, the fewest instances that keep the objective at the peak, and their bill.\n"
        "SOURCE is a calibration run against one instance (see chatload forecast), which is simulated, or a capacity.json\n"
        "(or its folder), which counts in place of a forecast where a type has both.",
        epilog="example: chatload plan c7i.xlarge=results/cpu inf1.xlarge=results/inf1 --workers 1,4 --questions 1e6 "
        "--day corpus/day.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="INSTANCE=SOURCE", help="an instance type and what is known of one")
    traffic = parser.add_mutually_exclusive_group(required=True)
    traffic.add_argument("--questions", "--per-month", dest="questions", type=float, help="questions a month")
    traffic.add_argument("--peak-rate", type=float, help="arrivals per second at the peak, where that is known")
    _add_curve_options(parser)
    parser.add_argument(
        "--workers", default="1", help="workers that served each run, separated by commas, or of all (default: 1)"
    )
    parser.add_argument("--objective", help="what the peak has to meet (default: that of the sources)")
    _add_queue_options(parser)
    _add_price_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the plan for machines")
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="write it as a page, with the bill over the traffic plotted"
    )
    parser.set_defaults(command=_plan)


def _plan(options: argparse.Namespace) -> None:
    listed, demand = prices.read(options.prices), _demand(options)
    read = _sources(options, listed)
    candidates.check_alike(read)
    clauses = candidates.common_objective(read, options.objective)
    peak = options.peak_rate or cost.busiest(options.questions, demand.curve)
    terms = plan.Terms(peak, options.arrivals, options.routing, options.queue, clauses, options.seed)
    choices = [plan.choose(source.candidate, terms) for source in read]
    report = plan_report.text(terms, demand, choices) + listed.origins(options.region, _types(read))
    print(report, end="")
    if not (options.html or options.json):
        return
    grown = plan.growth(choices, terms)
    if options.json:
        _write_json(options.json, plan_report.machine(terms, demand, choices, grown))
    if options.html:
        from chatload import plan_page  # takes half a second to import

        _write(options.html, plan_page.render(choices, grown, peak, report))


def _demand(options: argparse.Namespace) -> plan_report.Demand:
    for name, least, most in (("queue", 1, 1_000_000), ("seed", 0, 2**32)):
        _check_within(least, most, f"--{name}", getattr(options, name))
    if options.peak_rate is None:
        _check_above_zero("--questions", options.questions)
        return plan_report.Demand(options.questions, _curve(options))
    _check_above_zero("--peak-rate", options.peak_rate)
    if options.day or options.peak != 1:
        raise OptionError("--peak-rate is the peak itself: leave out --peak and --day, or write --questions in its place")
    return plan_report.Demand(None, [1.0])


def _sources(options: argparse.Namespace, listed: cost.Prices) -> list[candidates.Source]:
    pairs = [text.partition("=") for text in options.sources]
    for (instance, equals, path), text in zip(pairs, options.sources, strict=True):
        if not (instance and equals and path):
            raise OptionError(f"{text!r}: write an instance type and its run, for example c7i.xlarge=results/cpu")
    timeout_s = _duration_s("--timeout", options.timeout) if options.timeout else None
    return [
        candidates.read(instance, Path(path), listed.of(options.region, instance), workers, timeout_s)
        for (instance, _, path), workers in zip(pairs, _workers(options.workers, len(pairs)), strict=True)
    ]


def _workers(text: str, count: int) -> list[int]:
    """The number of workers of each of ``count`` sources; a single number is that of all."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"--workers {text!r}: write whole numbers separated by commas") from None
    for number in numbers:
        _check_within(1, 1_000, "--workers", number)
    if len(numbers) not in (1, count):
        raise OptionError(f"--workers {text}: {count} sources need {count} numbers, or one for all")
    return numbers * count if len(numbers) == 1 else numbers


def _types(read: list[candidates.Source]) -> list[str]:
    return list(dict.fromkeys(source.candidate.instance for source in read))


def _check_above_zero(flag: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise OptionError(f"{flag} {value:g}: write a number above 0")


def _check_within(least: int, most: int, flag: str, value: int) -> None:
    if not least <= value <= most:
        raise OptionError(f"{flag} {value}: write a whole number from {least} to {most}")


def _duration_s(flag: str, text: str) -> float:
    try:
        duration_s = units.parse_duration_s(text)
    except units.UnitError as error:
        raise OptionError(f"{flag}: {error}") from error
    if not duration_s:
        raise OptionError(f"{flag} {text}: write a duration above 0")
    return duration_s


def _add_history(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "history",
        help="the runs in a folder as a table, and what drifts",
        description="Lists the finished runs in a folder and below it, oldest first, and says which numbers drift.",
        epilog="example: chatload history results --html trend.html",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder with runs in it")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page, with the trend of latency plotted")
    parser.set_defaults(command=_history)


def _history(options: argparse.Namespace) -> None:
    rows, unread = [], []
    for folder in runs.folders_below(options.folder):
        try:
            rows.append(runs.row(folder, str(folder.relative_to(options.folder))))
        except runfolder.RunFolderError as error:
            unread.append(str(error))
    print(history.text(rows), end="")
    if options.html:
        from chatload import plot_page  # takes half a second to import

        _write(options.html, plot_page.trend(rows))
    if unread:
        raise runs.RunsError("; ".join(unread))


def _add_watch(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "watch",
        help="a running run as it stands, a line of JSON a second, until it is finished",
        description="Reads the folder of a run that goes on, and prints how it stands as one line of JSON a second\n"
        "(docs/reference/live.md). It gives way to every other process.",
        epilog="example: chatload watch results/20260101-120000-chatbot-1f3a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    parser.set_defaults(command=_watch)


def _watch(options: argparse.Namespace) -> None:
    if hasattr(os, "SCHED_IDLE"):  # even the lowest priority may keep a generator on the same core waiting for milliseconds
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(19)
    watch, state = live.Watch(options.run), ""
    with contextlib.suppress(BrokenPipeError):  # whoever wanted to know is gone
        while state != live.FINISHED:
            began_s = time.monotonic()
            found = watch.snapshot()
            state = found["state"]
            print(json.dumps(found, ensure_ascii=False, allow_nan=False, separators=(",", ":")), flush=True)
            time.sleep(max(1.0 - (time.monotonic() - began_s), 0.1) if state != live.FINISHED else 0)
        return
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more when it exits


def _priced(options: argparse.Namespace, read: list[compare.Side]) -> str:
    """What a million answers cost at the rates of the runs, where instance types are named."""
    if not options.instances:
        return ""
    types = options.instances.split(",")
    if len(types) != len(read):
        raise OptionError(f"--instances {options.instances}: {len(read)} sides need {len(read)} types, separated by commas")
    listed = prices.read(options.prices)
    rows = [
        (letter, instance, listed.of(options.region, instance), compare.throughput(side))
        for letter, instance, side in zip(compare_report.LETTERS, types, read, strict=False)
    ]
    return "\n" + cost.at_rates(rows) + listed.origins(options.region, types)


def _add_queue_options(parser: argparse.ArgumentParser) -> None:
    """What is simulated beside the workers themselves: arrivals, balancer, queue, and customers who give up."""
    parser.add_argument("--arrivals", choices=sorted(arrivals.PROCESSES), default="poisson", help="default: %(default)s")
    parser.add_argument("--routing", choices=simulation.ROUTINGS, default="round-robin", help="default: %(default)s")
    parser.add_argument("--queue", type=int, default=100, help="requests that may wait at an instance (default: 100)")
    parser.add_argument("--timeout", help="when a customer gives up (default: RUN's)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")


def _add_curve_options(parser: argparse.ArgumentParser) -> None:
    curve = parser.add_mutually_exclusive_group()
    curve.add_argument("--peak", type=float, default=1, help="the busiest hour in times the mean hour (default: 1)")
    curve.add_argument(
        "--day", type=Path, metavar="FILE", help="a day's traffic: a weight a line for each of its equal parts"
    )


def _curve(options: argparse.Namespace) -> list[float]:
    return prices.read_day(options.day) if options.day else cost.peaked(options.peak)


def _add_price_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--region", default="us-east-1", help="region of the prices (default: %(default)s)")
    parser.add_argument(
        "--prices", type=Path, metavar="FILE", help="your own prices: they override and add to those of prices.toml"
    )


def _metrics(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in compare.METRICS]
    if unknown or not names:
        raise OptionError(f"--metrics {text!r}: choose of {', '.join(compare.METRICS)}")
    return list(dict.fromkeys(names))


def _share(flag: str, text: str) -> float:
    try:
        share = units.parse_share(text)
    except units.UnitError as error:
        raise OptionError(f"{flag}: {error}") from error
    if not share:
        raise OptionError(f"{flag} {text}: nothing is the same to the last digit; write a share above 0, for example 5%")
    return share


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}") from error


def _write_json(path: Path, content: dict) -> None:
    plain = runfolder.plain(content)
    _write(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _report(options: argparse.Namespace) -> None:
    print(fold.show(options.run), end="")
