"""Processes: who belongs to a server that was started here, and how to end them all. Linux, through /proc."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.05
# Fields of /proc/PID/stat, counted after the command's name, which may itself hold blanks and brackets.
STATE, GROUP, SESSION, START = 0, 2, 3, 19


def stat_fields(pid: int) -> list[str] | None:
    """Return a process's fields; None where it is gone, or dead and only waiting to be collected."""
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[STATE] in "ZX" else fields


def start_ticks(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; None where it is gone."""
    fields = stat_fields(pid)
    return None if fields is None else int(fields[START])


def boot_id() -> str:
    """Return what tells this boot from others: start times repeat after a reboot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def has_environment(pid: int, entry: str) -> bool:
    """Tell whether a process was started with an entry NAME=VALUE in its environment."""
    try:
        return entry.encode() in (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def members(group: int, entry: str) -> list[int]:
    """Return the live processes of a group that carry an entry of the environment: ours, whoever reuses numbers."""
    pids = [int(path.name) for path in PROC.iterdir() if path.name.isdigit()]
    return [pid for pid in pids if group_of(pid) == group and has_environment(pid, entry)]


def group_of(pid: int) -> int | None:
    """Return a process's group; None where it is gone."""
    fields = stat_fields(pid)
    return None if fields is None else int(fields[GROUP])


def end_group(group: int, entry: str, head: int | None, grace_s: float) -> None:
    """End a group: ask its head, which ends its own children, wait for everybody, then kill what is left."""
    if head is not None and head in members(group, entry):
        send(head, signal.SIGTERM)
        wait_until_gone(group, entry, grace_s)
    while True:
        left = members(group, entry)
        if not left:
            return
        for pid in left:
            send(pid, signal.SIGKILL)
        wait_until_gone(group, entry, 1.0)


def wait_until_gone(group: int, entry: str, limit_s: float) -> None:
    """Wait until a group is empty, but not longer than the limit."""
    deadline_s = time.monotonic() + limit_s
    while members(group, entry) and time.monotonic() < deadline_s:
        time.sleep(POLL_S)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
