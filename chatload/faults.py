"""Faults: why a finished run cannot speak about the server, as its run.json says.

The verdict "invalid" says less: it is also that of a good run whose objective was not decided.
"""

from __future__ import annotations

from collections.abc import Mapping


def of(content: Mapping) -> tuple[str, ...]:
    """The faults of a run, for people; empty where its numbers can be used. Raises KeyError or TypeError without them."""
    return tuple(content["verdict"]["faults"])
