"""How near a forecast comes to what the same machine does in the same minutes: calibration and load take turns in one run.

    python -m benchmarks.forecast_turns model_store/intent-minilm-cpu-tuned.mar [SETS [FOLDER]]      21 minutes a set
    python -m benchmarks.forecast_turns again FOLDER      forecasts anew from kept runs

benchmarks.forecast measures after its calibration, as a user does; by then a shared machine may be a tenth slower, and at 80
% load p99 five times as much. Here the rate of one run changes every 15 or 30 s: a calibration, 40 % of capacity, a
calibration, 60 %, a calibration, 80 %, ten times over. All calibrating parts together are the calibration, all parts of a
rate what is measured of it; the first 2 s of each part are left out. What is then wrong is the forecast, but for one thing:
a bad moment that builds a queue for longer than that may be cut off at the beginning of a part.

Otherwise as benchmarks.forecast. Prints a Markdown table; FOLDER keeps the runs.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import fmean

import numpy as np

from benchmarks import forecast as afterwards
from benchmarks.engine import processor
from benchmarks.light import WORKER_CORE
from benchmarks.served import Server, saturated, serving
from chatload import calibration, forecast, objective, runfolder, samples, statistics

CYCLES = 10
SETTLE_S = 2
PARTS_S = {0.4: 15, 0.6: 15, 0.8: 30}
CALIBRATION_S, STEP_S = 15, 3
# The weights of corpus/calibration.txt, a weight a step, in an order that keeps the high one from the time that is left out.
CALIBRATION = (0.5, 0.5, 3.0, 0.5, 0.5)
P99 = objective.parse("p99<100ms")[0]


@dataclass(frozen=True)
class Part:
    """A part of a run: the share of capacity that is offered, 0 for a calibration, and from when to when what counts."""

    share: float
    start_s: float
    end_s: float


def parts() -> list[Part]:
    """The parts of a run, after a calibration that warms it up."""
    shares = [shown for _ in range(CYCLES) for share in PARTS_S for shown in (0.0, share)]
    lengths_s = [PARTS_S.get(share, CALIBRATION_S) for share in shares]
    edges_s = accumulate(lengths_s, initial=CALIBRATION_S)
    return [
        Part(share, start_s + SETTLE_S, end_s) for share, (start_s, end_s) in zip(shares, pairwise(edges_s), strict=True)
    ]


def rates(quiet: float, capacity: float) -> Iterator[float]:
    """The rate of each STEP_S of a run."""
    calibrating = [quiet * weight / fmean(CALIBRATION) for weight in CALIBRATION]
    yield from calibrating
    for part in parts():
        yield from [part.share * capacity] * (PARTS_S[part.share] // STEP_S) if part.share else calibrating


def windows(share: float) -> list[tuple[float, float]]:
    """The times of a run in which so much of capacity was offered."""
    return [(part.start_s, part.end_s) for part in parts() if part.share == share]


def measure(server: Server, quiet: float, seed: int, folder: Path) -> None:
    """One set: a calibration that tells the capacity, and the run in turns."""
    afterwards.calibrate(server, quiet, seed, folder / "calibration")
    capacity = afterwards.ask(folder / "calibration", quiet, afterwards.CALIBRATION_S)["capacity"]["value"]
    planned = list(rates(quiet, capacity))
    profile = folder / "rates.txt"
    profile.write_text("".join(f"{rate:.6g}\n" for rate in planned))
    (folder / "capacity.json").write_text(json.dumps({"quiet": quiet, "capacity": capacity}))
    span_s = STEP_S * len(planned)
    arrivals = f"profile:file={profile},span={span_s}s"
    seconds = span_s - afterwards.WARMUP_S
    afterwards.run(server, fmean(planned), seconds, seed + 1, folder / "turns", arrivals)


def show(folder: Path) -> None:
    """Prints a row for each share of capacity."""
    asked, content = json.loads((folder / "capacity.json").read_text()), runfolder.read_finished(folder / "turns")
    found = runfolder.read_parquet(folder / "turns")
    rows = found.rows[np.argsort(found.rows["intended_s"], kind="stable")]
    lengths = [len(utterance.text) for utterance in found.utterances]
    try:
        calibrated = calibration.calibrate_in(rows, lengths, 1, windows(0.0))
    except calibration.CalibrationError as error:
        print(f"{folder.name}: no calibration: {error}", file=sys.stderr)
        return
    fleet = forecast.Fleet(1, "random", afterwards.QUEUE, float(content["run"]["timeout_s"]))
    for share in PARTS_S:
        rate, measured = share * asked["capacity"], windows(share)
        traffic = forecast.at_rate("poisson", rate, sum(end_s - start_s for start_s, end_s in measured))
        said = vars(forecast.of_clause(calibrated, traffic, fleet, P99, 1))
        latency_ms = samples.latency_ms(rows[calibration.within(rows["intended_s"], measured)])
        seen = statistics.percentile(latency_ms, 0.99)
        if seen is statistics.NOT_CARRIED:
            print(f"{folder.name}: {len(latency_ms)} requests at {share:.0%} carry no p99", file=sys.stderr)
            continue
        print(row(asked["quiet"], rate, share, said, vars(seen), content["verdict"]["faults"]), flush=True)


def row(quiet: float, rate: float, share: float, said: dict, seen: dict, faults: Sequence[str]) -> str:
    """The row of the table."""
    seen = seen | {"high": seen["high"] if np.isfinite(seen["high"]) else None}
    cells = [f"{quiet:.0f}/s", f"{rate:.0f}/s", f"{share:.0%}", afterwards.spread(said), afterwards.spread(seen)]
    cells += [*afterwards.against(said, seen), "; ".join(fault.partition(":")[0] for fault in faults) or "valid"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Serves the archive named on the command line, and measures; or forecasts anew from kept runs."""
    kept = sys.argv[1:2] == ["again"]
    if not 2 <= len(sys.argv) <= 4 or (kept and len(sys.argv) != 3):
        sys.exit("benchmarks.forecast_turns: name one archive, for example model_store/intent-minilm-cpu-tuned.mar")
    print(f"{date.today()}, {processor()}, p99 in ms with 95 % intervals\n")
    print("| calibrated at | asked for | load | forecast | measured | / measured | / middle | | run |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    if kept:
        for folder in sorted(Path(sys.argv[2]).glob("set-*")):
            if (folder / "turns" / "run.json").exists():  # not of a set that ended early
                show(folder)
        return
    sets = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory() as name, serving(sys.argv[1], front_core=WORKER_CORE) as server:
        quiet = afterwards.CALIBRATED_SHARE * saturated(server)
        for number in range(sets):
            folder = Path(sys.argv[3] if len(sys.argv) > 3 else name).resolve() / f"set-{number}"
            folder.mkdir(parents=True)
            measure(server, quiet, 2 * number + 1, folder)
            show(folder)


if __name__ == "__main__":
    main()
