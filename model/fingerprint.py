"""Fingerprints: what a result was made from, as one sha256, so that an unchanged step need not run again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def of_values(values: dict[str, Any]) -> str:
    """Return the sha256 of plain values, the same for the same values in any order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode("utf-8")).hexdigest()


def of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in iter(lambda: file.read(CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.hexdigest()


def of_files(paths: Iterable[Path]) -> dict[str, str]:
    """Return the sha256 of each file, by its base name."""
    return {path.name: of_file(path) for path in sorted(paths)}
