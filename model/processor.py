"""The processor: its name, and those of its instructions that int8 and bf16 kernels are written for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
# What oneDNN and ONNX Runtime choose their kernels by, as Linux names them.
MATTERS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp", "i8mm", "bf16")


def processor(text: str | None = None) -> dict[str, Any]:
    """Return the name and the instructions that matter, from /proc/cpuinfo or a text of its form; "unknown" without."""
    if text is None:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace") if CPUINFO.exists() else ""
    fields = dict(reversed([part(line) for line in text.splitlines() if ":" in line]))
    offered = (fields.get("flags") or fields.get("Features") or "").split()
    return {
        "processor": fields.get("model name", "unknown"),
        "instructions": [name for name in MATTERS if name in offered],
    }


def part(line: str) -> tuple[str, str]:
    """Return the name and the value of a line."""
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
