"""The names of an artefact's files, which the build writes, the archive carries and the handlers read."""

from __future__ import annotations

ARTEFACT_JSON = "artefact.json"
GRAPH = "model.pt"
TOKENIZER = "tokenizer.json"
ARTEFACT_FILES = (ARTEFACT_JSON, GRAPH, TOKENIZER)
