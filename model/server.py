"""One TorchServe: its command, its environment, and the wait for its first answer."""

from __future__ import annotations

import http
import http.client
import json
import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from neuron_cores import VISIBLE_CORES, format_cores

from model import ROOT
from model.ports import HOST
from model.problem import BuildProblem

CONFIG = ROOT / "config.properties"
LOG_CONFIG = ROOT / "model" / "log4j2.xml"
LOG = "logs/server.log"
CONSOLE = "logs/console.log"
LOG_PREFIX = re.compile(r"^\S+ \[[A-Z ]+\] .*? - ")
TICK_S = 0.1
LAST_WORDS_TICKS = 50  # 20 were too few once, on a busy machine
QUESTION = json.dumps({"text": "are you ready"})
# What TorchServe logs when a worker ends although it should not: it would try again for five minutes.
DEATHS = ("backend worker process died", "load model failed", "failed to start")


@dataclass(frozen=True)
class Server:
    """Everything that shapes one TorchServe; models are archives of one folder by the name that each is served under."""

    models: dict[str, Path]
    state: Path
    temp: Path
    java: Path
    ports: dict[str, int]
    workers: int
    threads: int
    cores: set[int]
    neuron_cores: tuple[int, ...] = ()
    config: Path = CONFIG
    log_config: Path | None = LOG_CONFIG


def command(server: Server) -> list[str]:
    """Return the command: TorchServe's own launcher, in the foreground so that its process leads the group."""
    logging = ["--log-config", str(server.log_config)] if server.log_config else []
    return [
        sys.executable, "-m", "ts.model_server", "--start", "--foreground", "--ncs",
        "--ts-config", str(server.config),
        *logging,
        "--model-store", str(next(iter(server.models.values())).parent),
        "--models", *(f"{name}={archive.name}" for name, archive in server.models.items()),
    ]  # fmt: skip


def environment(server: Server) -> dict[str, str]:
    """Return the environment: the caller's without what would leak into TorchServe or its workers, and our settings."""
    leaks = ("PYTHONPATH", "TMPDIR", "TMP", "LOG_LOCATION", "METRICS_LOCATION")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TS_") and name not in leaks}
    ports = server.ports
    # Each worker takes one of these for its own.
    neuron = {VISIBLE_CORES: format_cores(server.neuron_cores)} if server.neuron_cores else {}
    return {
        **kept,
        **neuron,
        "JAVA_HOME": str(server.java),
        "TEMP": str(server.temp),
        "TMPDIR": str(server.temp),
        "LOG_LOCATION": str(server.state / "logs"),
        "METRICS_LOCATION": str(server.state / "logs"),
        "TS_INFERENCE_ADDRESS": f"http://{HOST}:{ports['inference']}",
        "TS_MANAGEMENT_ADDRESS": f"http://{HOST}:{ports['management']}",
        "TS_METRICS_ADDRESS": f"http://{HOST}:{ports['metrics']}",
        "TS_GRPC_INFERENCE_PORT": str(ports["grpc_inference"]),
        "TS_GRPC_MANAGEMENT_PORT": str(ports["grpc_management"]),
        "TS_DEFAULT_WORKERS_PER_MODEL": str(server.workers),
        "INTENT_THREADS": str(server.threads),
    }


def launch(server: Server) -> subprocess.Popen[bytes]:
    """Start TorchServe in a session of its own, on its cores, and return its process at once."""
    mine = os.sched_getaffinity(0)
    with (server.state / CONSOLE).open("wb") as console:
        # A child inherits the affinity; code of ours between fork and exec would be unsafe beside threads.
        os.sched_setaffinity(0, server.cores)
        try:
            return subprocess.Popen(
                command(server),
                env=environment(server),
                cwd=server.state,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.sched_setaffinity(0, mine)


def wait_until_ready(server: Server, process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Return when each model has answered a real request and every worker is ready to answer the next.

    Raises BuildProblem with the cause and the log's path.
    """
    deadline_s = time.monotonic() + timeout_s
    dots = sys.stderr.isatty()
    silent = list(server.models)
    question: http.client.HTTPConnection | None = None
    try:
        while True:
            if silent:
                question = question or ask(server, silent[0])
                if question is not None and has_answer(question):
                    silent = silent[1:] if status_of(question) == 200 else silent
                    question.close()
                    question = None
            else:
                if all(ready_workers(server, name) >= server.workers for name in server.models):
                    return
                time.sleep(TICK_S)
            cause = failure(server, process, deadline_s, timeout_s)
            if cause is not None:
                raise BuildProblem(f"TorchServe did not start: {cause}; log: {server.state / LOG}")
            if dots:
                print(".", end="", file=sys.stderr, flush=True)
    finally:
        if question is not None:
            question.close()
        if dots:
            print(file=sys.stderr)


def ask(server: Server, name: str) -> http.client.HTTPConnection | None:
    """Send a model a request and return its connection; None, after a moment, while the server takes none."""
    token = token_of("inference", server.state)
    if token is not None:
        connection = http.client.HTTPConnection(HOST, server.ports["inference"], timeout=5)
        try:
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
            connection.request("POST", f"/predictions/{name}", QUESTION, headers)
            return connection
        except OSError:
            connection.close()
    time.sleep(TICK_S)
    return None


def warm_up(server: Server, requests: int) -> None:
    """Send bodies that the handler refuses, so that the way there and back is compiled before anybody measures it.

    Java compiles what has run some thousands of times; until then it is slow, and its compiler takes cores from the model.
    Raises BuildProblem where one is not refused, OSError or http.client.HTTPException where the server does not answer.
    """
    from tqdm import tqdm  # not at the top: stopping a server needs no package

    connection = http.client.HTTPConnection(HOST, server.ports["inference"], timeout=30)
    headers = {"Authorization": f"Bearer {token_of('inference', server.state)}"}
    try:
        for _ in tqdm(range(requests), desc="warming up", unit=" requests", disable=None, leave=False):
            connection.request("POST", f"/predictions/{next(iter(server.models))}", b"no JSON", headers)
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.HTTPStatus.BAD_REQUEST:
                raise BuildProblem(f"warming up: a request without JSON was answered with {answer.status}, not 400")
    finally:
        connection.close()


def has_answer(connection: http.client.HTTPConnection) -> bool:
    """Tell whether an answer arrives within a moment. The request keeps its place: asking anew would fill the queue."""
    return bool(select.select([connection.sock], [], [], TICK_S)[0])


def status_of(connection: http.client.HTTPConnection) -> int | None:
    """Return the status of an answer; None where the connection broke."""
    try:
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None


def ready_workers(server: Server, name: str) -> int:
    """Return how many workers have loaded a model. The first answer says so of one only."""
    connection = http.client.HTTPConnection(HOST, server.ports["management"], timeout=5)
    try:
        headers = {"Authorization": f"Bearer {token_of('management', server.state)}"}
        connection.request("GET", f"/models/{name}", headers=headers)
        models = json.loads(connection.getresponse().read())
        return sum(worker["status"] == "READY" for worker in models[0]["workers"])
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return 0
    finally:
        connection.close()


def token_of(port: str, state: Path) -> str | None:
    """Return the token for the inference or the management port; None until TorchServe has written it."""
    try:
        return str(json.loads((state / "key_file.json").read_text())[port]["key"])
    except (OSError, ValueError, KeyError):
        return None


def java_pid(temp: Path) -> int | None:
    """Return the process of TorchServe's front end, which ends its workers when it is asked to end."""
    try:
        return int((temp / ".model_server.pid").read_text())
    except (OSError, ValueError):
        return None


def failure(server: Server, process: subprocess.Popen[bytes], deadline_s: float, timeout_s: float) -> str | None:
    """Return why a server will not come up; None while it still may."""
    log = read_text(server.state / LOG)
    if process.poll() is not None:
        return cause_in(log + read_text(server.state / CONSOLE)) or f"it ended with status {process.returncode}"
    if any(sign in log.lower() for sign in DEATHS):
        return last_words(server) or "a worker died"
    if time.monotonic() > deadline_s:
        return cause_in(log) or f"no answer within {timeout_s:.0f} s"
    return None


def last_words(server: Server) -> str | None:
    """Return the cause of a worker's death once its log is still; None where it said nothing.

    TorchServe notes the death in one thread and copies what the worker printed in another: either may come first.
    """
    log = ""
    for _ in range(LAST_WORDS_TICKS):
        time.sleep(TICK_S)
        before, log = log, read_text(server.state / LOG)
        if log == before and cause_in(log) is not None:
            break
    return cause_in(log) or cause_in(read_text(server.state / CONSOLE))


def read_text(path: Path) -> str:
    """Return a log's text; nothing where it is not written yet."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""


def cause_in(log: str) -> str | None:
    """Return the last line of a log that names an error, without what the logger put before it."""
    for line in reversed(log.splitlines()):
        text = LOG_PREFIX.sub("", line).strip()
        head = text.partition(":")[0]
        if text and " " not in head and head.endswith(("Error", "Exception", "BadArtefact", "MissingDevice")):
            return text
    return None
