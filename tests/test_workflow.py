"""The workflow that ships as an example, checked by a linter and against the Makefile."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "load.yml"


def lint(path: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_github_would_take_the_workflow():
    done = lint(WORKFLOW)
    assert done.returncode == 0, done.stdout


def test_the_linter_does_find_mistakes(tmp_path):
    broken = tmp_path / "load.yml"
    broken.write_text(WORKFLOW.read_text().replace("runs-on:", "run-on:"))
    assert lint(broken).returncode == 1


def test_actions_are_pinned_and_the_job_runs_the_gate_with_settings_that_exist():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    for action in (step["uses"] for step in job["steps"] if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action), action
    (command,) = [step["run"] for step in job["steps"] if "run" in step]
    assert command.startswith("make gate ")
    makefile = (ROOT / "Makefile").read_text()
    for name in re.findall(r"(\w+)=", command):
        assert f"\n{name} ?=" in makefile, name
