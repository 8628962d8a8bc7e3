"""Runs a command while the machine's idle cores stay awake, as tools that measure latency want them (cyclictest does).

    python -m benchmarks.awake python -m benchmarks.engine cpu

A core with nothing to do sleeps, and waking it takes time: on a virtual machine a trip through the hypervisor, charged to
whoever wakes it. The kernel promises a latency of zero as long as this process holds the request: its cores then wait in a
loop. They look fully busy from outside, and a hyperthread beside them has less. Linux, and mostly root.
https://docs.kernel.org/power/pm_qos_interface.html
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

INTERFACE = Path("/dev/cpu_dma_latency")
LATENCY_US = 0


def main() -> int:
    """Run the command line's command, and return its exit status."""
    if not sys.argv[1:]:
        sys.exit("benchmarks.awake: name a command, for example python -m benchmarks.engine cpu")
    try:
        request = INTERFACE.open("wb", buffering=0)
    except OSError as error:
        sys.exit(f"benchmarks.awake: {INTERFACE} cannot be written: {error.strerror}; this needs Linux, and mostly root")
    with request:
        request.write(struct.pack("i", LATENCY_US))
        return subprocess.run(sys.argv[1:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
