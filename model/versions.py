"""The versions of what a build depends on, as the installed packages state them."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = ("torch", "transformers", "tokenizers")
COMPILERS = {
    "cpu": ("onnx", "onnx-ir", "onnxruntime"),
    "inf1": ("torch-neuron", "neuron-cc"),
    "inf2": ("torch-neuronx", "neuronx-cc"),
}


def versions(target: str = "") -> dict[str, str]:
    """Return the version of Python, of each package that shapes weights or answers, and of a target's compilers."""
    found = {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}}
    for name in COMPILERS.get(target, ()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
