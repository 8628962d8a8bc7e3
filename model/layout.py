"""The names of an artefact's files, which the build writes, the archive carries and the handlers read."""

from __future__ import annotations

from typing import Any

ARTEFACT_JSON = "artefact.json"
GRAPH = "model.pt"
TOKENIZER = "tokenizer.json"


def artefact_files(facts: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of an artefact's files, as its artefact.json counts the graphs."""
    return (ARTEFACT_JSON, TOKENIZER, *facts["graphs"])
