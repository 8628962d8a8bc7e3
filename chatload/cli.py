"""Command line: chatload report RUN. Files, arguments and exit codes; no arithmetic."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chatload import __version__, fold, runfolder, verdict

_MISTAKES = (runfolder.RunFolderError,)


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
    return parser


def _report(options: argparse.Namespace) -> None:
    print(fold.show(options.run), end="")
