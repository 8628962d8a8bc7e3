"""Interpreters: a Python of a wanted version on this machine. `python -m model.interpreter 3.10` prints its path."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

# A Debian without its venv package has the module venv, but not ensurepip, which venv needs.
PROBE = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
TIMEOUT_S = 20


def find_interpreter(versions: Sequence[str]) -> str | None:
    """Return a Python of the first version that this machine has, able to make virtual environments; None without one."""
    for version in versions:
        for path in candidates(version):
            if answer_of([path, "-c", PROBE]) == version:
                return path
    return None


def candidates(version: str) -> Iterator[str]:
    """Yield where a version may be: on PATH, in /usr/bin, under pyenv, under uv."""
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield on_path
    yield f"/usr/bin/python{version}"
    yield from map(str, sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python{version}")))
    found = answer_of(["uv", "python", "find", "--no-python-downloads", version])
    if found:
        yield found


def answer_of(command: list[str]) -> str | None:
    """Return what a command prints; None where it is not there or fails. A launcher of pyenv may be there and fail."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def main(versions: Sequence[str]) -> int:
    """Print a path; 2 where there is none."""
    path = find_interpreter(versions)
    if path is None:
        wanted = " or ".join(versions)
        print(f"chatload: no Python {wanted} with its venv module on this machine; install one", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
