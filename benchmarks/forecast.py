"""How near a forecast comes to what is measured afterwards: TorchServe at 40, 60 and 80 % of capacity, calibrated at 20 %.

    python -m benchmarks.forecast model_store/intent-minilm-cpu-tuned.mar [SETS [FOLDER]]      23 minutes a set
    python -m benchmarks.forecast again FOLDER      forecasts anew from kept runs: as it is, without haste, with neither

A calibration's rate varies about its mean, 20 % of full load, as corpus/calibration.txt says.

TorchServe with one worker on core 1, the generator on core 0. Each rate has a calibration of its own right before it, since
machines change from minute to minute; one that turns out invalid is made again, at most three times in all, and said.
Capacity is what a set's first calibration forecasts for p99<100ms. Needs wrk on the PATH, which warms Java up and finds the
rate to calibrate at. Prints a Markdown table; FOLDER keeps the runs.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.engine import processor
from benchmarks.generators import ROOT
from benchmarks.light import CORPUS, WORKER_CORE
from benchmarks.served import Server, saturated, serving
from chatload import calibrated, forecast, haste, objective, wander

GENERATOR_CORE = 0
CALIBRATED_SHARE = 0.2
SHARES = (0.4, 0.6, 0.8)
CALIBRATION_S, CALIBRATION_TRIALS = 120, 3
# Queues answer in bursts: the nearer to capacity, the longer a run that bounds its p99.
MEASURED_S = {0.4: 150, 0.6: 150, 0.8: 300}
WARMUP_S = 5
CALIBRATION_ARRIVALS = "profile:file=corpus/calibration.txt,span=15s"
OBJECTIVE = "p99<100ms,errors<1%"
QUEUE = 100
NEAR = 0.15


def run(server: Server, rate: float, seconds: int, seed: int, results: Path, arrivals: str = "poisson") -> dict:
    """The content of an open-loop run, whatever its verdict. Raises RuntimeError where it did not come to one."""
    if results.exists():
        raise RuntimeError(f"{results} is there already: name another folder")
    options = ["-f", "locustfiles/chatbot.py", "--headless", "--only-summary", "--skip-log-setup", "--host", server.url]
    options += ["--token-file", server.token_file, "--rate", f"{rate:.4g}", "--seed", str(seed), "--objective", OBJECTIVE]
    options += ["--run-time", f"{seconds + WARMUP_S}s", "--warmup", f"{WARMUP_S}s", "--corpus", str(CORPUS)]
    options += ["--arrivals", arrivals, "--results", str(results)]
    command = ["taskset", "-c", str(GENERATOR_CORE), sys.executable, "-m", "locust", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    file = results / "run.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    if not found.get("verdict"):
        raise RuntimeError(f"{results.name} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    return found


def calibrate(server: Server, rate: float, seed: int, results: Path) -> dict:
    """The content of a calibration; one that a forecast would refuse is said, kept, and made again, as a user would.

    Raises RuntimeError after three of those.
    """
    for trial in range(CALIBRATION_TRIALS):
        found = run(server, rate, CALIBRATION_S, seed, results, CALIBRATION_ARRIVALS)
        faults = found["verdict"]["faults"]
        if not faults:
            return found
        print(f"{results.name} was refused: {'; '.join(faults)}", file=sys.stderr)
        results.rename(results.with_name(f"refused-{trial}-{results.name}"))
    raise RuntimeError(f"no valid calibration at {rate:.0f}/s in {CALIBRATION_TRIALS} trials")


def ask(calibration: Path, rate: float, seconds: int) -> dict:
    """The forecast of a run at a rate."""
    answer = calibration / "forecast.json"
    question = ("--rate", f"{rate:.4g}", "--duration", f"{seconds + WARMUP_S}s", "--json", str(answer))
    command = [sys.executable, "-m", "chatload", "forecast", str(calibration), *question]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(answer.read_text())


def again(folder: Path) -> None:
    """Prints what this code forecasts from kept runs: as it is, without haste, and with neither haste nor wander."""
    print("| asked for | forecast | without haste | with neither | measured | / measured | / middle | | haste | wander |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for calibrated_in in sorted(folder.glob("calibration-*")):
        measured_in = folder / f"measured-{calibrated_in.name.rpartition('-')[2]}" / "run.json"
        if not measured_in.exists():  # a set that ended early
            continue
        measured = json.loads(measured_in.read_text())
        run, rate = calibrated.read(calibrated_in, 1), measured["run"]["rate"]
        traffic = forecast.at_rate("poisson", rate, measured["run"]["duration_s"] + WARMUP_S)
        found = run.calibration
        even = replace(found, haste=haste.NONE)
        idle_calm, queued_calm = np.ones_like(found.idle_calm), np.ones_like(found.queued_calm)
        steady = replace(even, wander=wander.STEADY, idle_calm=idle_calm, queued_calm=queued_calm)
        p99 = objective.parse("p99<100ms")[0]
        said, *others = (
            asdict(forecast.of_clause(one, traffic, forecast.Fleet(1, "random", QUEUE, run.timeout_s), p99, 1))
            for one in (found, even, steady)
        )
        seen = measured["summary"]["latency_ms"]["p99"]
        cells = [f"{rate:.0f}/s", *map(spread, [said, *others, seen]), *against(said, seen)]
        over_all = f"{found.haste.full_s * 1e3:.2f} ms ({found.haste.error_s * found.haste.most * 1e3:.2f})"
        pace = over_all, f"{math.sqrt(found.wander.variance):.1%}"
        print(f"| {' | '.join([*cells, *pace])} |")


def against(said: dict, seen: dict) -> list[str]:
    """[forecast / measured, forecast / middle of the measured interval, whether it is within a bound of it or inside]."""
    value, low, high = said["value"], seen["low"], seen["high"]
    ratio = f"{value / seen['value']:.2f}"
    if high is None:
        return [ratio, "", "inside" if low <= value else "outside"]
    of_middle = value / ((low + high) / 2)
    held = "inside" if low <= value <= high else "near" if abs(of_middle - 1) <= NEAR else "outside"
    return [ratio, f"{of_middle:.2f}", held]


def row(share: float, calibration: dict, foretold: dict, measured: dict) -> str:
    """The row of the table."""
    said, seen = foretold["latency_ms"]["p99"], measured["summary"]["latency_ms"]["p99"]
    verdict = measured["verdict"]
    faults = "; ".join(fault.partition(":")[0] for fault in verdict["faults"])
    cells = [
        f"{calibration['run']['rate']:.0f}/s",
        f"{measured['run']['rate']:.0f}/s",
        f"{share:.0%}",
        spread(said),
        spread(seen),
        *against(said, seen),
        faults or "valid",
    ]
    return f"| {' | '.join(cells)} |"


def spread(estimate: dict) -> str:
    """A value with its interval, in ms."""
    high = "or more" if estimate["high"] is None else f"to {estimate['high']:.3g}"
    return f"{estimate['value']:.3g} ({estimate['low']:.3g} {high})"


def measure(server: Server, sets: int, folder: Path) -> None:
    """Prints a row for each set and share."""
    quiet = CALIBRATED_SHARE * saturated(server)
    capacity = 0.0
    for step, share in enumerate(tqdm(sets * SHARES, desc="forecasts", disable=None)):
        calibration_folder = folder / f"calibration-{step}"
        calibration = calibrate(server, quiet, 2 * step + 1, calibration_folder)
        if share == SHARES[0]:
            capacity = ask(calibration_folder, quiet, CALIBRATION_S)["capacity"]["value"]
        seconds = MEASURED_S[share]
        foretold = ask(calibration_folder, share * capacity, seconds)
        measured = run(server, share * capacity, seconds, 2 * step + 2, folder / f"measured-{step}")
        print(row(share, calibration, foretold, measured), flush=True)


def main() -> None:
    """Serves the archive named on the command line, and measures; or forecasts anew from kept runs."""
    if sys.argv[1:2] == ["again"] and len(sys.argv) == 3:
        again(Path(sys.argv[2]))
        return
    if not 2 <= len(sys.argv) <= 4:
        sys.exit("benchmarks.forecast: name one archive, for example model_store/intent-minilm-cpu-tuned.mar")
    sets = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print(f"{date.today()}, {processor()}, p99 in ms with 95 % intervals\n")
    print("| calibrated at | asked for | load | forecast | measured | / measured | / middle | | run |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name, serving(sys.argv[1], front_core=WORKER_CORE) as server:
        measure(server, sets, Path(sys.argv[3] if len(sys.argv) > 3 else name).resolve())


if __name__ == "__main__":
    main()
