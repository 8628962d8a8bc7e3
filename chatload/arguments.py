"""Arguments: what several commands of the command line take, checked, and the files that they write."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from chatload import arrivals, cost, prices, runfolder, simulation, units


class OptionError(ValueError):
    """An option that cannot be used; the message names it and what would be right."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as every other mistake is said, instead of after its whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"chatload: {message}; {self.prog} --help has the options\n")


def check_above_zero(flag: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise OptionError(f"{flag} {value:g}: write a number above 0")


def check_within(least: int, most: int, flag: str, value: int) -> None:
    if not least <= value <= most:
        raise OptionError(f"{flag} {value}: write a whole number from {least} to {most}")


def duration_s(flag: str, text: str) -> float:
    return _not_zero(flag, text, units.parse_duration_s, "write a duration above 0")


def share(flag: str, text: str) -> float:
    advice = "nothing is the same to the last digit; write a share above 0, for example 5%"
    return _not_zero(flag, text, units.parse_share, advice)


def _not_zero(flag: str, text: str, parse: Callable[[str], float], advice: str) -> float:
    try:
        value = parse(text)
    except units.UnitError as error:
        raise OptionError(f"{flag}: {error}") from error
    if not value:
        raise OptionError(f"{flag} {text}: {advice}")
    return value


def add_queue_options(parser: argparse.ArgumentParser) -> None:
    """What is simulated beside the workers themselves: arrivals, balancer, queue, and customers who give up."""
    parser.add_argument("--arrivals", choices=sorted(arrivals.PROCESSES), default="poisson", help="default: %(default)s")
    parser.add_argument("--routing", choices=simulation.ROUTINGS, default="round-robin", help="default: %(default)s")
    parser.add_argument("--queue", type=int, default=100, help="requests that may wait at an instance (default: 100)")
    parser.add_argument("--timeout", help="when a customer gives up (default: RUN's)")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")


def check_queue_options(options: argparse.Namespace) -> None:
    check_within(1, 1_000_000, "--queue", options.queue)
    check_within(0, 2**32, "--seed", options.seed)


def add_curve_options(parser: argparse.ArgumentParser) -> None:
    curve = parser.add_mutually_exclusive_group()
    curve.add_argument("--peak", type=float, default=1, help="the busiest hour in times the mean hour (default: 1)")
    curve.add_argument(
        "--day", type=Path, metavar="FILE", help="a day's traffic: a weight a line for each of its equal parts"
    )


def curve(options: argparse.Namespace) -> list[float]:
    return prices.read_day(options.day) if options.day else cost.peaked(options.peak)


def add_price_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--region", default="us-east-1", help="region of the prices (default: %(default)s)")
    parser.add_argument(
        "--prices", type=Path, metavar="FILE", help="your own prices: they override and add to those of prices.toml"
    )


def write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise OptionError(f"{path} cannot be written: {error.strerror}") from error


def write_json(path: Path, content: dict) -> None:
    plain = runfolder.plain(content)
    write(path, json.dumps(plain, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
