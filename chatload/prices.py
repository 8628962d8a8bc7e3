"""Prices: reads what money depends on: prices.toml, the project's and the user's own, and a day's traffic."""

from __future__ import annotations

import math
import tomllib
from pathlib import Path

from chatload import cost

SHIPPED = Path(__file__).resolve().parent.parent / "prices.toml"


def read(own: Path | None) -> cost.Prices:
    """The shipped prices, overridden by those in the file ``own`` where one is named. Raises cost.CostError."""
    shipped = _read(SHIPPED)
    return cost.overridden(shipped, _read(own)) if own else shipped


def _read(path: Path) -> cost.Prices:
    try:
        text = path.read_text()
        content = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise cost.CostError(f"prices {path} cannot be read ({error})") from error
    cost.check_keys(text, path.name)
    return cost.prices(content, path.name)


def read_day(path: Path) -> list[float]:
    """The weights of the equal parts of a day, one a line; empty lines and those that start with # are left out.

    Raises cost.CostError.
    """
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
        weights = [float(line) for line in lines if line and not line.startswith("#")]
    except (OSError, ValueError) as error:
        raise cost.CostError(f"day {path} cannot be read ({error}): write one number a line") from error
    if not weights or min(weights) < 0 or not 0 < sum(weights) < math.inf:
        raise cost.CostError(f"day {path}: weights are numbers of at least 0, not all 0")
    return weights
