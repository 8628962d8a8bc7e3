"""Describe command: chatload describe. Its arguments and the files that it writes; no arithmetic."""

from __future__ import annotations

import argparse
import json
import math
import secrets
import sys
from pathlib import Path

from chatload import (
    anonymised,
    description,
    description_report,
    fitting,
    log_file,
    reproduction,
    runfolder,
    stand_in,
    tokenizer_file,
    units,
)
from chatload.chat_log import Columns, LogError

_ROLES = ("time", "text", "intent", "session", "tokens")


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the command line's."""
    parser = commands.add_parser(
        "describe",
        help="what a log or a trace looks like, and the options that reproduce it",
        description="Describes a log of utterances: rate, bursts, sessions, lengths, intents, repeats; finds the arrival\n"
        "process and the other options of a scenario that reproduce it. FILE is CSV, TSV, JSON Lines or Parquet with a\n"
        "column of times, of texts or both, or a corpus. Columns are found by their usual names.",
        epilog="example: chatload describe traffic.csv --write-profile day.txt",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="the log, the trace or the corpus")
    for role in _ROLES:
        parser.add_argument(f"--{role}-column", default="", metavar="NAME", help=f"the column of its {role}")
    parser.add_argument(
        "--pause", default="", metavar="TIME", help="a session that rests for longer ends there, such as 10m"
    )
    parser.add_argument("--write-trace", type=Path, metavar="FILE", help="write its times for --arrivals trace")
    parser.add_argument("--write-profile", type=Path, metavar="FILE", help="write its rate for --arrivals profile")
    parser.add_argument("--write-mix", type=Path, metavar="FILE", help="write the weights of its intents for --mix")
    parser.add_argument(
        "--anonymise", type=Path, metavar="OUT", help="write it with a stand-in for every text, .csv or .tsv"
    )
    parser.add_argument("--tokenizer", type=Path, metavar="FILE", help="tokenizer.json by which stand-ins keep their tokens")
    parser.add_argument("--hide-intents", action="store_true", help="number the intents in the file that --anonymise writes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the description for machines")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as a page, with plots")
    parser.set_defaults(command=_describe)


def _describe(options: argparse.Namespace) -> None:
    columns = Columns(**{role: getattr(options, f"{role}_column") for role in _ROLES})
    pause_s = _pause_s(options.pause) if options.pause else math.inf
    if options.anonymise:
        print(_anonymised(options, columns), file=sys.stderr)
    elif options.tokenizer or options.hide_intents:
        raise LogError("--tokenizer and --hide-intents are for --anonymise OUT; name what to write")
    found = description.describe(log_file.read(options.file, columns), pause_s)
    fit = fitting.fit(found.starting) if found.starting else None
    reproduced = reproduction.reproduction(found, fit, _written(options, found, fit))
    report = description_report.text(found, fit, reproduced)
    print(report, end="")
    if options.html:
        from chatload import describe_page  # takes half a second to import

        _write(options.html, describe_page.described(found, fit, report))
    if options.json:
        content = runfolder.plain(description_report.machine(found, fit, reproduced))
        _write(options.json, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _pause_s(text: str) -> float:
    try:
        return units.parse_duration_s(text)
    except units.UnitError as error:
        raise LogError(f"--pause: {error}") from error


def _anonymised(options: argparse.Namespace, columns: Columns) -> str:
    """Writes the log with stand-ins, and says how far they are like the texts."""
    if options.tokenizer:
        language = tokenizer_file.read(options.tokenizer)
    else:
        language = stand_in.Language(stand_in.split_plainly, log_file.own_words())
    stand_ins = stand_in.StandIns(language, secrets.token_bytes(32))
    tally = anonymised.write(options.file, columns, options.anonymise, stand_ins, options.hide_intents)
    return f"chatload: {options.anonymise}: " + description_report.stand_ins(tally.rows, tally.blank, stand_ins)


def _written(options: argparse.Namespace, found: description.Description, fit: fitting.Fit | None) -> reproduction.Written:
    """Writes the files that options name, as far as the log has what goes into them."""
    trace, profile, mix = options.write_trace, options.write_profile, options.write_mix
    if trace:
        if not found.log.times:
            raise LogError(f"--write-trace {trace}: {found.log.file} has no times")
        log_file.write_trace(trace, found.log.times.offsets_s)
    if profile:
        if not found.starting:
            raise LogError(f"--write-profile {profile}: {found.log.file} has no times")
        _write(profile, reproduction.profile_file(found, fit))
    if mix:
        if not found.log.intents:
            raise LogError(f"--write-mix {mix}: {found.log.file} has no intents")
        _write(mix, reproduction.mix_file(found.log, comma=mix.suffix.lower() == ".csv"))
    return reproduction.Written(*("" if path is None else str(path) for path in (profile, trace, mix)))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LogError(f"{path} cannot be written: {error.strerror}") from error
