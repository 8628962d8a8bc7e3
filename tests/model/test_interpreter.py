"""Interpreters: the wanted version is found where it is and works, and its absence is one line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from model import interpreter

MINE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def pretend(path: Path, body: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def found(monkeypatch):
    """Replace where interpreters are looked for."""
    places: dict[str, list[str]] = {}
    monkeypatch.setattr(interpreter, "candidates", lambda version: places.get(version, []))
    return places


def test_this_python_is_found_by_its_version(found, capsys):
    found[MINE] = [sys.executable]
    assert interpreter.main(["9.9", MINE]) == 0
    assert capsys.readouterr().out.strip() == sys.executable


def test_one_that_fails_or_is_of_another_version_is_passed_over(found, tmp_path):
    shim = pretend(tmp_path / "shim", "echo 'command not found' >&2; exit 127")
    other = pretend(tmp_path / "other", "echo 9.8")
    right = pretend(tmp_path / "right", "echo 9.9")
    found["9.9"] = [str(tmp_path / "nowhere"), shim, other, right]
    assert interpreter.find_interpreter(["9.9"]) == right


def test_none_is_one_line(found, capsys):
    assert interpreter.main(["9.9", "9.8"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "chatload: no Python 9.9 or 9.8 with its venv module on this machine; install one"
    ]


def test_path_and_pyenv_are_looked_through(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path))
    on_path = pretend(tmp_path / "bin" / "python9.9", "echo 9.9")
    under_pyenv = pretend(tmp_path / ".pyenv" / "versions" / "9.9.1" / "bin" / "python9.9", "echo 9.9")
    assert list(interpreter.candidates("9.9")) == [on_path, "/usr/bin/python9.9", under_pyenv]
