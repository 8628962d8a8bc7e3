"""Command line: chatload report, compare, cost, history. Files, arguments and exit codes; no arithmetic."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from chatload import __version__, compare, compare_report, cost, fold, runfolder, sides, units, verdict


class OptionError(ValueError):
    """An option that cannot be used; the message names it and what would be right."""


_MISTAKES = (runfolder.RunFolderError, sides.SideError, compare.CompareError, cost.CostError, OptionError)
_GATE_EXIT_CODES = {compare.SAME: 0, compare.WORSE: 1, compare.UNDECIDED: 2}


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
        description="Prints the report of a run from its folder; finishes the folder first when the run was cut short.",
        epilog="example: chatload report results/20260101-120000-chatbot-1f3a",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("run", type=Path, metavar="RUN", help="the run's folder")
    report.set_defaults(command=_report)
    _add_compare(commands)
    return parser


def _add_compare(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "compare",
        help="compare runs, repeated runs or in-process benchmarks with a baseline",
        description="Compares each SIDE with the first: ratios and differences with intervals, and whether they are\n"
        "real. A side is a run's folder, a folder of repeated runs (as make ab leaves them), or the CSV of make inprocess.",
        epilog="example: chatload compare results/before results/after --gate --margin 5%%",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sides", type=Path, nargs="+", metavar="SIDE", help="what to compare; the first is the baseline")
    parser.add_argument("--metrics", default=",".join(compare.USUAL_METRICS), help="what to compare (default: %(default)s)")
    parser.add_argument("--margin", default="5%", help="the smallest ratio that matters (default: 5%%)")
    parser.add_argument(
        "--points", default="1%", help="the same for errors and accuracy, in percentage points (default: 1%%)"
    )
    parser.add_argument("--gate", action="store_true", help="exit 1 when worse than the baseline by more, 2 when undecided")
    parser.add_argument("--anyway", action="store_true", help="compare what differs in its conditions, or is invalid, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the comparison for machines")
    parser.set_defaults(command=_compare)


def _compare(options: argparse.Namespace) -> None:
    if not 2 <= len(options.sides) <= len(compare_report.LETTERS):
        raise OptionError(f"{len(options.sides)} sides: name from two to {len(compare_report.LETTERS)}")
    margins = compare.Margins(_share("--margin", options.margin), _share("--points", options.points))
    found = compare.against_first([sides.read(path) for path in options.sides], _metrics(options.metrics), options.anyway)
    print(compare_report.text(found, margins, options.gate), end="")
    if options.json:
        _write(options.json, json.dumps(compare_report.machine(found, margins), indent=1, ensure_ascii=False) + "\n")
    if options.gate:
        findings = [finding for comparison in found for finding in comparison.findings]
        sys.exit(_GATE_EXIT_CODES[compare.gate(findings, margins)])


def _metrics(text: str) -> list[str]:
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


def _report(options: argparse.Namespace) -> None:
    print(fold.show(options.run), end="")
