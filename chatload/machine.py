"""Machine: what a run was made with: the hardware and the versions that its header names."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import chatload

_PACKAGES = ("locust", "gevent", "httptools", "msgspec", "numpy", "scipy", "pyarrow")


def hardware() -> dict:
    """The machine that generates the load: processor, cores this process may use, memory in GiB, operating system."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
    }


def versions() -> dict:
    """Versions of chatload, Python and the packages that take part in the measurement."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    return {"chatload": chatload.__version__, "python": platform.python_version(), **found}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
