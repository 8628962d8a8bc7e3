"""What serving adds to the model: throughput at saturation and latency at 20 % load, beside the model in process.

    python -m benchmarks.overhead model_store/intent-minilm-cpu-tuned.mar ...

One worker on core 1, TorchServe's front end and the load on core 0; in process, the model runs on core 1 while the server
is idle: back to back, and at the arrivals of a load of 20 % (benchmarks/light.py), which tells what serving adds
from what a load adds by itself. All take turns. Needs wrk on the PATH. Prints a Markdown table.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine import middle, processor
from benchmarks.light import WORKER_CORE
from benchmarks.served import FRONT_CORE, Server, on_core, saturated, serving

ROUNDS, LIGHT_ROUNDS = 7, 3
SECONDS = 8
LIGHT_S = 40  # BERT-base has 370 arrivals in it on a Zen 4 core
LOAD_SHARE = 0.2


def in_process(archive: Path, folder: Path) -> dict:
    """The summary of the model alone on the worker's core."""
    options = ("--duration", str(SECONDS), "--interval", str(SECONDS), "--results", str(folder))
    on_core(WORKER_CORE, "model", "inprocess", "--archive", str(archive), *options)
    return json.loads(next(folder.glob("inprocess-*.json")).read_text())


def lightly_loaded(server: Server, archive: Path, rate: float) -> dict[str, float]:
    """The median latency at a rate in ms, served and in process."""
    options = (server.url, server.token_file, str(archive), f"{rate:.3g}", str(LIGHT_S))
    return json.loads(on_core(FRONT_CORE, "benchmarks.light", *options))


def measure(archive: Path) -> str:
    """The row of an archive."""
    alone, served, added, added_by_serving = [], [], [], []
    with tempfile.TemporaryDirectory() as name, serving(str(archive)) as server:
        saturated(server)
        for turn in tqdm(range(ROUNDS), desc=archive.stem, disable=None):
            model = in_process(archive, Path(name))
            alone.append(model["throughput"])
            served.append(saturated(server) / model["throughput"])
            if turn >= LIGHT_ROUNDS:
                continue
            light = lightly_loaded(server, archive, LOAD_SHARE * model["throughput"])
            added.append(light["served_ms"] - model["p50_ms"])
            added_by_serving.append(light["served_ms"] - light["unserved_ms"])
    return f"| {archive.stem} | {middle(alone)} | {middle(served)} | {middle(added)} | {middle(added_by_serving)} |"


def main() -> None:
    """Measures the archives named on the command line."""
    archives = [Path(name) for name in sys.argv[1:]]
    if not archives:
        sys.exit("benchmarks.overhead: name one archive or more, for example model_store/intent-minilm-cpu-tuned.mar")
    print(
        f"{date.today()}, {processor()}, medians of {ROUNDS} rounds, at 20 % load of {LIGHT_ROUNDS} (smallest to largest)\n"
    )
    print("| archive | in process, /s | served at saturation / in process | p50 at 20 % load, ms: served - back to back | "
          "served - in process at the same arrivals |")  # fmt: skip
    print("|---|---|---|---|---|")
    for archive in archives:
        print(measure(archive), flush=True)


if __name__ == "__main__":
    main()
