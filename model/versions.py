"""The versions of what a build depends on, as the installed packages state them."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("torch", "transformers", "tokenizers")


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that shapes weights or answers."""
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
