"""What serving adds to the model: throughput at saturation and latency at 20 % load, beside the model in process.

    python -m benchmarks.overhead model_store/intent-minilm-cpu-tuned.mar ...

One worker on core 1, TorchServe's front end and the load on core 0; in process, the model runs on core 1 while the server
is idle: back to back, and at the arrivals of a load of 20 % (benchmarks/light.py), which tells what serving adds
from what a load adds by itself. All take turns. Needs wrk on the PATH. Prints a Markdown table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from tqdm import tqdm

from benchmarks.engine import ROOT, middle, processor
from benchmarks.light import CORPUS, WORKER_CORE
from model.corpus import read_corpus
from model.process import members

ROUNDS, LIGHT_ROUNDS = 7, 3
SECONDS = 8
LIGHT_S = 40  # BERT-base has 370 arrivals in it on a Zen 4 core
WARM_UP_S = 30  # at several thousand requests a second: Java compiles what has run ten thousand times
FRONT_CORE = 0
LOAD_SHARE = 0.2
CONNECTIONS = 4  # enough that the worker's next utterance always waits in TorchServe's queue


def on_core(core: int, *command: str) -> str:
    """Run a command of this Python on a core, and return what it printed."""
    whole = ["taskset", "-c", str(core), sys.executable, "-m", *command]
    return subprocess.run(whole, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def in_process(archive: Path, folder: Path) -> dict:
    """The summary of the model alone on the worker's core."""
    options = ("--duration", str(SECONDS), "--interval", str(SECONDS), "--results", str(folder))
    on_core(WORKER_CORE, "model", "inprocess", "--archive", str(archive), *options)
    return json.loads(next(folder.glob("inprocess-*.json")).read_text())


def pin(server: dict) -> None:
    """Give the worker its core, and the front end and everything else of the server the other."""
    for pid in members(server["pgid"], f"TEMP={server['temp']}"):
        is_worker = "model_service_worker" in Path(f"/proc/{pid}/cmdline").read_text()
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {WORKER_CORE if is_worker else FRONT_CORE})


def warm_up(url: str, token: str) -> None:
    """Send bodies that the handler refuses, so that the whole way there and back is compiled, whatever the model takes."""
    text = wrk(url, token, 'wrk.method = "POST"\nwrk.body = "no JSON"\n', WARM_UP_S)
    assert "Non-2xx" in text, text


def saturated(url: str, token: str) -> float:
    """Answers per second to the test utterances, closed loop."""
    texts, _ = read_corpus(CORPUS).test()
    bodies = ", ".join("[==[" + json.dumps({"text": one.text}) + "]==]" for one in texts)
    script = f"local bodies = {{{bodies}}}\nlocal n = 0\n"
    script += 'function request() n = n % #bodies + 1 return wrk.format("POST", nil, nil, bodies[n]) end\n'
    text = wrk(url, token, script, SECONDS)
    assert "Non-2xx" not in text, text
    return float(text.partition("Requests/sec:")[2].split()[0])


def wrk(url: str, token: str, script: str, seconds: int) -> str:
    """What wrk prints; the token goes through a file, not the command line."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(f'{script}wrk.headers["Authorization"] = "Bearer {token}"\n')
        file.flush()
        command = ["taskset", "-c", str(FRONT_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", file.name]
        return subprocess.run([*command, f"{url}/predictions/intent"], capture_output=True, text=True, check=True).stdout


def lightly_loaded(server: dict, archive: Path, rate: float) -> dict[str, float]:
    """The median latency at a rate in ms, served and in process."""
    options = (server["url"], server["token_file"], str(archive), f"{rate:.3g}", str(LIGHT_S))
    return json.loads(on_core(FRONT_CORE, "benchmarks.light", *options))


def measure(archive: Path) -> str:
    """The row of an archive."""
    alone, served, added, added_by_serving = [], [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        state = folder / "state"
        serve = [sys.executable, "-m", "model", "serve"]
        command = [*serve, "start", "--archive", str(archive), "--port", "0", "--workers", "1", "--state", str(state)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        try:
            server = json.loads((state / "server.json").read_text())
            token = json.loads(Path(server["token_file"]).read_text())["inference"]["key"]
            pin(server)
            warm_up(server["url"], token)
            saturated(server["url"], token)
            for turn in tqdm(range(ROUNDS), desc=archive.stem, disable=None):
                model = in_process(archive, folder)
                alone.append(model["throughput"])
                served.append(saturated(server["url"], token) / model["throughput"])
                if turn >= LIGHT_ROUNDS:
                    continue
                light = lightly_loaded(server, archive, LOAD_SHARE * model["throughput"])
                added.append(light["served_ms"] - model["p50_ms"])
                added_by_serving.append(light["served_ms"] - light["unserved_ms"])
        finally:
            subprocess.run([*serve, "stop", "--state", str(state)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
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
