"""Faults: why a finished run cannot speak about the server, recalled from its run.json.

The verdict "invalid" says less: it is also that of a good run whose objective was not decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatload import objective, verdict
from chatload.objective import Estimate


def of(content: Mapping) -> tuple[str, ...]:
    """The faults of a run, for people; empty where its numbers can be used.

    Raises KeyError, TypeError, AttributeError or objective.ObjectiveError for what is not the content of a run.json.
    """
    run = content["run"]
    conduct = verdict.Conduct(**run["conduct"])
    return tuple(verdict.invalidities(_estimates(content["summary"]), objective.parse(run["objective"]), conduct))


def _estimates(value: Any) -> Any:
    """A summary as statistics.summarise gave it, from its JSON form."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"value", "low", "high"}:
        return Estimate(**value)
    return {name: _estimates(part) for name, part in value.items()}
