"""Prices: reads prices.toml, the project's and the user's own."""

from __future__ import annotations

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
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise cost.CostError(f"prices {path} cannot be read ({error})") from error
    return cost.prices(content, path.name)
