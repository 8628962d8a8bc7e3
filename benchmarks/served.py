"""A TorchServe that a benchmark starts: its processes on the cores they were given, warmed up, and how much it answers.

Needs wrk on the PATH.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.generators import ROOT
from benchmarks.light import CORPUS, WORKER_CORE
from model.corpus import read_corpus
from model.process import members

FRONT_CORE = 0
WARM_UP_S = 30  # at several thousand requests a second: Java compiles what has run ten thousand times
SATURATED_S = 8
CONNECTIONS = 4  # enough that the worker's next utterance always waits in TorchServe's queue


@dataclass(frozen=True)
class Server:
    """A server that answers: its URL, the file with its token, its process group and what tells its members."""

    url: str
    token_file: str
    pgid: int
    temp: str

    @property
    def token(self) -> str:
        return json.loads(Path(self.token_file).read_text())["inference"]["key"]


@contextmanager
def serving(archive: str, front_core: int = FRONT_CORE) -> Iterator[Server]:
    """A server of an archive with one worker, on the worker's core, and everything else of it on ``front_core``."""
    serve = [sys.executable, "-m", "model", "serve"]
    with tempfile.TemporaryDirectory() as state:
        command = [*serve, "start", "--archive", archive, "--port", "0", "--workers", "1", "--state", state]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        try:
            facts = json.loads((Path(state) / "server.json").read_text())
            server = Server(facts["url"], facts["token_file"], facts["pgid"], facts["temp"])
            pin(server, front_core)
            warm_up(server)
            yield server
        finally:
            subprocess.run([*serve, "stop", "--state", state], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def pin(server: Server, front_core: int) -> None:
    """Give the worker its core, and the front end and everything else of the server theirs."""
    for pid in members(server.pgid, f"TEMP={server.temp}"):
        is_worker = "model_service_worker" in Path(f"/proc/{pid}/cmdline").read_text()
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {WORKER_CORE if is_worker else front_core})


def on_core(core: int, *command: str) -> str:
    """Run a command of this Python on a core, and return what it printed."""
    whole = ["taskset", "-c", str(core), sys.executable, "-m", *command]
    return subprocess.run(whole, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


def warm_up(server: Server) -> None:
    """Send bodies that the handler refuses, so that the whole way there and back is compiled, whatever the model takes."""
    text = _wrk(server, 'wrk.method = "POST"\nwrk.body = "no JSON"\n', WARM_UP_S)
    assert "Non-2xx" in text, text


def saturated(server: Server) -> float:
    """Answers per second to the test utterances, closed loop."""
    texts, _ = read_corpus(CORPUS).test()
    bodies = ", ".join("[==[" + json.dumps({"text": one.text}) + "]==]" for one in texts)
    script = f"local bodies = {{{bodies}}}\nlocal n = 0\n"
    script += 'function request() n = n % #bodies + 1 return wrk.format("POST", nil, nil, bodies[n]) end\n'
    text = _wrk(server, script, SATURATED_S)
    assert "Non-2xx" not in text, text
    return float(text.partition("Requests/sec:")[2].split()[0])


def _wrk(server: Server, script: str, seconds: int) -> str:
    """What wrk prints; the token goes through a file, not the command line."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(f'{script}wrk.headers["Authorization"] = "Bearer {server.token}"\n')
        file.flush()
        command = ["taskset", "-c", str(FRONT_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", file.name]
        done = subprocess.run([*command, f"{server.url}/predictions/intent"], capture_output=True, text=True, check=True)
        return done.stdout
