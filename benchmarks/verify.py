"""The acceptance of a target on this machine, in one evidence file: device, compile, parity, contract, benchmarks.

`make verify TARGET=inf2` runs it. It calls what people call, so that its evidence is of that and nothing else.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = Path(".serve")
GOLDEN = "real_server_answers_as_agreed or missing_token or beyond_the_server"
# What describes the hardware, where it is installed.
DESCRIBERS = (["neuron-ls"], ["modinfo", "-F", "version", "neuron"], ["nvidia-smi"], ["lscpu"])
BUILD = "compile and parity"
MODEL_STEPS = (BUILD, "serve")


@dataclass(frozen=True)
class Step:
    """One step: what ran, its exit status (None: it was left out), how long it took in s, and what it said."""

    name: str
    command: tuple[str, ...]
    status: int | None
    time_s: float
    output: str

    @property
    def outcome(self) -> str:
        """Return passed, failed or left out."""
        return "left out" if self.status is None else "passed" if self.status == 0 else f"failed ({self.status})"


def plan(options: argparse.Namespace, results: Path) -> list[tuple[str, list[str]]]:
    """Return the steps after the device: names and commands."""
    settings = [f"TARGET={options.target}", f"MODEL={options.model}", f"RECIPE={options.recipe}"]
    load = [f"RATE={options.rate}", f"DURATION={options.duration}", f"RESULTS={results}"]
    golden = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract", "-k", GOLDEN, "--served", str(STATE)]
    return [
        (BUILD, ["make", "model", *settings]),
        ("in-process benchmark", ["make", "inprocess", *settings, f"DURATION={options.duration}"]),
        ("serve", ["make", f"serve-{options.target}", *settings, "PORT=0"]),
        ("contract", [sys.executable, *golden]),
        ("open-loop run", ["make", "load", *load]),
    ]


def run_step(name: str, command: Sequence[str]) -> Step:
    """Run a step in the repository's root and return it."""
    print(f"verify   {name}: {' '.join(command)}", flush=True)
    started_s = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    step = Step(name, tuple(command), done.returncode, time.monotonic() - started_s, done.stdout)
    print(f"         {step.outcome}, {step.time_s:.0f} s", flush=True)
    return step


def run_all(steps: Sequence[tuple[str, list[str]]], run: Callable[[str, Sequence[str]], Step] = run_step) -> list[Step]:
    """Run the steps in order. Without a model or a server the rest is left out; a benchmark that fails stops nothing."""
    done: list[Step] = []
    for name, command in steps:
        broken = next((step for step in done if step.name in MODEL_STEPS and step.status != 0), None)
        if broken is not None:
            done.append(Step(name, tuple(command), None, 0.0, f"{broken.name} failed"))
        elif command[0] == "make" and not has_make_target(command[1]):
            done.append(Step(name, tuple(command), None, 0.0, f"this checkout has no make {command[1]}"))
        else:
            done.append(run(name, command))
    return done


def has_make_target(name: str) -> bool:
    """Tell whether the Makefile names a target."""
    return f"\n{name}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def evidence(target: str, machine: str, steps: Sequence[Step]) -> str:
    """Return the evidence as Markdown."""
    rows = [f"| {step.name} | {step.outcome} | {step.time_s:.0f} | `{' '.join(step.command)}` |" for step in steps]
    parts = [f"# Acceptance of the target {target}: {verdict(steps)}", "## Machine", fenced(machine), "## Steps"]
    parts.append("\n".join(["| step | outcome | s | command |", "|---|---|---|---|", *rows]))
    parts += ["## Artefact", fenced(artefact_of(steps))]
    for step in steps:
        parts += [f"### {step.name}: {step.outcome}", fenced(step.output)]
    return "\n\n".join(parts) + "\n"


def artefact_of(steps: Sequence[Step]) -> str:
    """Return artefact.json of the archive that the build names last: a skipped step does not print its parity again."""
    built = next((step for step in steps if step.name == BUILD and step.status == 0), None)
    if built is None:
        return "none was built"
    with zipfile.ZipFile(ROOT / built.output.splitlines()[-1]) as archive:
        return archive.read("artefact.json").decode("utf-8")


def verdict(steps: Sequence[Step]) -> str:
    """Return passed where every step did; a step that was left out is no pass, and is named."""
    failed = [step.name for step in steps if step.status not in (0, None)]
    left_out = [step.name for step in steps if step.status is None]
    if failed:
        return f"FAILED at {', '.join(failed)}"
    return f"passed, but {', '.join(left_out)} left out" if left_out else "passed"


def fenced(text: str) -> str:
    """Return a text as a block, whatever backticks are in it."""
    return f"~~~~\n{text.strip()}\n~~~~"


def describe_machine() -> str:
    """Return what this machine and this checkout are, as the installed tools tell."""
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    lines = [
        f"date      {datetime.now(UTC).isoformat(timespec='seconds')}",
        f"commit    {output_of(['git', 'describe', '--always', '--dirty', '--abbrev=40'])}",
        f"instance  {instance_type()}",
        f"kernel    {platform.release()}",
        f"cores     {len(os.sched_getaffinity(0))}, {memory}",
    ]
    for command in DESCRIBERS:
        if shutil.which(command[0]):
            lines += ["", f"$ {' '.join(command)}", output_of(command)]
    return "\n".join(lines)


def instance_type() -> str:
    """Return the instance type as the machine's firmware states it: on EC2's Nitro its product name."""
    path = Path("/sys/devices/virtual/dmi/id/product_name")
    return path.read_text().strip() if path.is_file() else "unknown"


def output_of(command: Sequence[str]) -> str:
    """Return what a command prints, errors and all."""
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """Verify a target and write the evidence. Exit status: 0 passed, 1 failed or incomplete, 2 no such device here."""
    options = parse(arguments)
    device = subprocess.run([sys.executable, "-m", "model", "device", "--target", options.target], cwd=ROOT, check=False)
    if device.returncode:
        return device.returncode
    stamp = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    folder = ROOT / "results" / f"verify-{options.target}-{stamp}"
    machine = describe_machine()
    steps: list[Step] = []
    try:
        steps = run_all(plan(options, folder.relative_to(ROOT) / "run"))
    finally:
        # Only what was started here: an earlier server makes the step fail, and lives on.
        if any(step.name == "serve" and step.status == 0 for step in steps):
            steps.append(run_step("stop", ["make", "stop"]))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "evidence.md"
    path.write_text(evidence(options.target, machine, steps), encoding="utf-8")
    print(f"verify   {verdict(steps)}\n{path.relative_to(ROOT)}")
    return 0 if verdict(steps) == "passed" else 1


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verify", description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="cpu")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--recipe", default="tuned")
    parser.add_argument("--rate", default="40")
    parser.add_argument("--duration", default="60s")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
