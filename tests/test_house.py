"""The house: what stands where, the words of the documentation, and the front door."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

import pytest

from chatload import settings

ROOT = Path(__file__).resolve().parent.parent


PLACES = """
    README.md Makefile CONTRACT.md contract config.properties prices.toml corpus handlers model model_store locustfiles
    chatload tests benchmarks docs/decisions docs/reference pyproject.toml requirements LICENSE CHANGELOG.md .gitignore
    .ci/run
"""


@pytest.mark.parametrize("name", PLACES.split())
def test_everything_has_its_place(name):
    assert (ROOT / name).exists()


COMMANDS = [
    *("setup", "bench", "test", "test-floor", "check", "model", "inprocess", "serve-cpu", "stop", "gate", "load", "ui"),
    *("report", "capacity", "verify"),
]
ACCELERATORS = {"serve-inf1": "neuron0", "serve-inf2": "neuron0", "serve-cuda": "nvidia0"}


def make(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_make_alone_prints_help_with_every_target_that_people_use():
    done = make()
    assert done.returncode == 0
    for target in [*COMMANDS, *ACCELERATORS]:
        assert re.search(rf"^  make {target} +\w", done.stdout, re.M), target


def test_a_missing_python_is_one_clear_line():
    done = make("setup", "PYTHON=python-that-is-not-there", "--always-make")
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("chatload: python-that-is-not-there is missing or older than Python 3.11")


@pytest.mark.parametrize("target", ["load", "ui"])
def test_a_load_without_a_server_is_one_clear_line(target, tmp_path):
    ready = f"{sys.prefix}/.ready"
    done = subprocess.run(
        ["make", "-f", str(ROOT / "Makefile"), f"VENV={sys.prefix}", "-o", ready, target],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[0].startswith("chatload: no server was started here")
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("RATE=abc", "argument --rate: invalid float value: 'abc'"),
        ("OBJECTIVE=fast", "'fast' is not a clause"),
        ("SCENARIO=locustfiles/nope.py", "chatload: SCENARIO=locustfiles/nope.py: there is no such file; choose from"),
    ],
)
def test_a_bench_of_a_mistaken_run_is_refused_before_anything_is_built(setting, said):
    done = make("bench", setting, f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.ready", "SERVE_PY=false")
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[0]
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("target", "setting", "said"),
    [
        ("model", "RECIPE=fast", "model: --recipe fast: cuda has no such recipe; choose one of: tuned, article"),
        ("model", "MODEL=/nowhere", "model: --model /nowhere: no such folder"),
        ("model", "CORPUS=/nowhere.tsv", "model: /nowhere.tsv: "),
        ("inprocess", "DURATION=abc", "model: argument --duration: abc is not a number of seconds above zero"),
        ("serve-cpu", "PORT=abc", "model: argument --port: abc is not a whole number from 0 to 65531"),
        ("serve-assistant", "PORT=abc", "model: argument --port: abc is not"),
        ("serve-cuda", "PORT=abc", "model: argument --port: abc is not"),
    ],
)
def test_mistaken_settings_are_refused_before_an_environment_or_a_model_is_built(target, setting, said):
    done = make(target, setting, "TARGET=cuda", "VENV=/nowhere/venv", "SERVE_PYTHON=false", f"PYTHON={sys.executable}")
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert len([line for line in done.stderr.splitlines() if not line.startswith("make")]) == 1
    assert done.stdout == ""


@pytest.mark.parametrize(("target", "device"), [*ACCELERATORS.items(), ("bench TARGET=cuda", "nvidia0")])
def test_a_target_without_its_device_is_refused_before_anything_is_built(target, device):
    if Path("/dev", device).exists():
        pytest.skip(f"this machine has /dev/{device}")
    done = make(*target.split(), f"VENV={sys.prefix}", "-o", f"{sys.prefix}/.ready", "SERVE_PYTHON=false")
    assert done.returncode == 2
    assert f"there is no /dev/{device}" in done.stderr.splitlines()[0]
    assert done.stdout == ""


def test_the_readme_and_the_reference_name_every_target_and_option():
    readme = (ROOT / "README.md").read_text()
    for target in [*COMMANDS, *ACCELERATORS]:
        assert f"make {target}" in readme, target
    reference = (ROOT / "docs" / "reference" / "scenario-options.md").read_text()
    for option in settings.OPTIONS:
        assert f"`{option.flag}`" in reference, option.flag


def test_every_local_path_that_the_documentation_names_exists():
    for page in [ROOT / "README.md", ROOT / "CONTRACT.md", *(ROOT / "docs").rglob("*.md")]:
        for path in re.findall(
            r"(?<![\w/.<])((?:docs|tests|contract|benchmarks|corpus|requirements)/[\w./-]*\w)", page.read_text()
        ):
            assert list(ROOT.glob(f"{path}*")), f"{page.name} names {path}"


def test_prices_are_positive_and_say_where_they_come_from():
    prices = tomllib.loads((ROOT / "prices.toml").read_text())
    assert prices.pop("source").startswith("https://")
    assert isinstance(prices.pop("date"), date)
    assert all(price > 0 for region in prices.values() for price in region.values())


def test_no_secret_no_machine_path_and_no_registry_in_what_is_committed():
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split(
        "\0"
    )
    texts = [ROOT / name for name in tracked if name and not name.startswith("tests/")]
    if not texts:
        pytest.skip("not a git checkout")
    for path in texts:
        text = path.read_text(errors="ignore")
        assert not re.search(r"(?<![\w.])/(?:home|root|Users)/\w|pypi\.org|files\.pythonhosted", text), path
