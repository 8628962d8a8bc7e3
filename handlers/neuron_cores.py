"""NeuronCores: which ones this process may use, and one of them for its own.

A core belongs to one process from its first inference until that process ends, and the runtime takes every core that it
sees. So each worker takes the lock of a core and shows its runtime that core alone, before the runtime wakes.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from missing_device import MissingDevice

VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"
DEVICES = Path("/dev")
# An Inferentia has four cores, an Inferentia2 two.
CORES_PER_CHIP = {"inf1": 4, "inf2": 2}

_held: dict[int, IO[str]] = {}


def visible_cores(target: str) -> list[int]:
    """Return the cores that this process may choose from: those that the environment names, else all of the machine's."""
    named = os.environ.get(VISIBLE_CORES)
    if named:
        return parse_cores(named)
    return list(range(CORES_PER_CHIP[target] * len(chips())))


def chips() -> list[Path]:
    """Return the device files of the machine's Inferentia chips."""
    return sorted(path for path in DEVICES.glob("neuron[0-9]*") if path.name[len("neuron") :].isdigit())


def parse_cores(text: str) -> list[int]:
    """Return the cores of a list such as 0,2-3. Raises MissingDevice where it is none."""
    cores: list[int] = []
    try:
        for part in text.split(","):
            low, dash, high = part.partition("-")
            cores.extend(range(int(low), int(high if dash else low) + 1))
    except ValueError as error:
        raise MissingDevice(f"{VISIBLE_CORES}={text}: not a list of cores; write it like 1 or 0,2-3") from error
    return cores


def claim_core(target: str) -> int:
    """Return the core of this process; the first call takes a free one and shows it to the runtime. Raises MissingDevice."""
    if _held:
        return next(iter(_held))
    cores = visible_cores(target)
    if not cores:
        raise MissingDevice(f"no Inferentia for the target {target}: there is no {DEVICES}/neuron0")
    for core in cores:
        lock = lock_of(core)
        if lock is not None:
            _held[core] = lock
            os.environ[VISIBLE_CORES] = str(core)
            return core
    raise MissingDevice(f"every NeuronCore of {format_cores(cores)} has a worker already; start no more workers than cores")


def lock_of(core: int) -> IO[str] | None:
    """Return the held lock of a core; None where another process holds it. The kernel frees it when its process ends."""
    file = (Path(tempfile.gettempdir()) / f"neuron-core-{core}.{os.getuid()}.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def format_cores(cores: Iterable[int]) -> str:
    """Return cores as a list that the runtime and parse_cores read."""
    return ",".join(map(str, cores))
