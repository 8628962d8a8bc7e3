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
    arguments,
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
    forecast_command,
    history,
    live,
    objective,
    plan,
    plan_command,
    prices,
    runfolder,
    runs,
    settings,
    sides,
    verdict,
)

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
    arguments.OptionError,
)
_GATE_EXIT_CODES = {findings.SAME: 0, findings.WORSE: 1, findings.UNDECIDED: 2}


def main(command_line: list[str] | None = None) -> None:
    """Runs a command and exits: 0 when it did its work, 2 for a mistake in what it was given."""
    options = _parser().parse_args(command_line)
    try:
        options.command(options)
    except _MISTAKES as error:
        print(f"chatload: {error}", file=sys.stderr)
        sys.exit(verdict.EXIT_CODES[verdict.INVALID])


def _parser() -> argparse.ArgumentParser:
    parser = arguments.Parser(prog="chatload", description="Reads the results of load runs.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser(
        "report",
        help="print a run's report again",
        description="Prints the report of a run from its folder, and writes its report.html, summary.md and junit.xml anew; "
        "finishes the folder first when the run was cut short. A search's folder is read as chatload capacity does.",
        epilog="example: chatload report results/20260101-120000-chatbot-1f3a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("run", type=Path, metavar="RUN", help="the run's folder, or a capacity search's")
    report.set_defaults(command=_report)
    _add_capacity(commands)
    _add_compare(commands)
    _add_cost(commands)
    forecast_command.add(commands)
    plan_command.add(commands)
    _add_history(commands)
    describe_command.add(commands)
    _add_watch(commands)
    _add_options(commands)
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
    _show_search(options.folder)


def _show_search(folder: Path) -> None:
    from chatload import capacity_page  # takes half a second to import

    path = folder / capacity_report.FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        capacity_report.check(found)
    except OSError as error:
        raise arguments.OptionError(
            f"{folder} is not a search's folder: {path.name} cannot be read ({error.strerror})"
        ) from error
    except ValueError as error:
        raise arguments.OptionError(f"{path} is damaged or of another version of chatload ({error})") from error
    report = capacity_report.text(found, str(folder))
    arguments.write(folder / "report.html", capacity_page.render(found, report))
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
    arguments.add_price_options(parser)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison for machines")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page, with latency by percentile plotted")
    parser.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> None:
    if not 2 <= len(options.sides) <= len(compare_report.LETTERS):
        raise arguments.OptionError(f"{len(options.sides)} sides: name from two to {len(compare_report.LETTERS)}")
    margins = findings.Margins(arguments.share("--margin", options.margin), arguments.share("--points", options.points))
    read = [sides.read(path) for path in options.sides]
    found = compare.against_first(read, _metrics(options.metrics), options.anyway)
    report = compare_report.text(found, margins, options.gate) + _priced(options, read)
    print(report, end="")
    if options.html:
        from chatload import plot_page  # takes half a second to import

        arguments.write(options.html, plot_page.comparison(read, report))
    if options.json:
        arguments.write(
            options.json, json.dumps(compare_report.machine(found, margins), indent=1, ensure_ascii=False) + "\n"
        )
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
    arguments.add_price_options(parser)
    parser.add_argument("--questions", type=float, default=100_000, help="questions a month (default: 100000)")
    arguments.add_curve_options(parser)
    parser.set_defaults(command=_cost)


def _cost(options: argparse.Namespace) -> None:
    listed = prices.read(options.prices)
    curve = arguments.curve(options)
    arguments.check_above_zero("--questions", options.questions)
    paths: dict[str, Path] = {}
    for text in options.targets:
        instance, equals, path = text.partition("=")
        if not equals or not path or instance in paths:
            raise arguments.OptionError(
                f"{text!r}: write each instance type once with its runs, for example c7i.xlarge=results/cpu"
            )
        paths[instance] = Path(path)
    read = {name: [runs.row(folder, str(folder)) for folder in runs.folders(path)] for name, path in paths.items()}
    cost.check_alike([row for rows in read.values() for row in rows])
    targets = [
        cost.Target(name, listed.of(options.region, name), runs.searched(paths[name]) or cost.capacity(rows))
        for name, rows in read.items()
    ]
    print(cost.text(targets, options.questions, curve), end="")
    print(listed.origins(options.region, list(read)), end="")


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

        arguments.write(options.html, plot_page.trend(rows))
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
        raise arguments.OptionError(
            f"--instances {options.instances}: {len(read)} sides need {len(read)} types, separated by commas"
        )
    listed = prices.read(options.prices)
    rows = [
        (letter, instance, listed.of(options.region, instance), compare.throughput(side))
        for letter, instance, side in zip(compare_report.LETTERS, types, read, strict=False)
    ]
    return "\n" + cost.at_rates(rows) + listed.origins(options.region, types)


def _metrics(text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in compare.METRICS]
    if unknown or not names:
        raise arguments.OptionError(f"--metrics {text!r}: choose of {', '.join(compare.METRICS)}")
    return list(dict.fromkeys(names))


def _report(options: argparse.Namespace) -> None:
    if (options.run / capacity_report.FILE).exists():
        _show_search(options.run)
    else:
        print(fold.show(options.run), end="")


def _add_options(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "options",
        help="list the options that a scenario adds to Locust's",
        description="Lists the options of every scenario with their defaults. locust --help has Locust's own alone.",
        epilog="example: chatload options",
    )
    parser.set_defaults(command=_options)


def _options(_: argparse.Namespace) -> None:
    listed = argparse.ArgumentParser(
        usage="locust -f SCENARIO.py [options]",
        add_help=False,
        epilog="A scenario may have other defaults: see its file. docs/reference/scenario-options.md says more.",
    )
    for option in settings.OPTIONS:
        default = "" if option.default == "" else f" [{option.default}]"
        listed.add_argument(option.flag, metavar="...", help=f"{option.help}{default}".replace("%", "%%"))
    print(listed.format_help(), end="")
