"""Serving: TorchServe with its archives, started until each answers, stopped until nothing of it is left."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from neuron_cores import visible_cores

from model import device
from model.archive import read_facts
from model.java import java_home
from model.ports import HOST, choose_ports
from model.problem import BuildProblem, UserProblem
from model.process import boot_id, end_group, members, start_ticks
from model.processor import processor
from model.recipes import require_target
from model.server import LOG, Server, java_pid, launch, wait_until_ready, warm_up

STATE = Path(".serve")  # of what make serve-* starts
GRACE_S = 20.0
TEMP_PREFIX = "intent-"
# A worker on an accelerator imports more and loads a graph per bucket, from a disk that may still be cold.
TIMEOUT_S, ACCELERATOR_TIMEOUT_S = 120, 600
NEEDED = {"url", "pid", "pgid", "start_ticks", "boot_id", "temp"}


@dataclass(frozen=True)
class Wish:
    """What to start: archives for a target, on five ports from the first, as `serve start --help` says."""

    target: str
    archives: tuple[Path, ...]
    port: int
    workers: int | None
    threads: int
    cpus: str | None
    state: Path
    timeout_s: int | None
    warm_requests: int


def start(wish: Wish) -> int:
    """Start a server; return 0 when each of its models has answered a real request, and Java has warmed up.

    Raises UserProblem, MissingDevice or BuildProblem.
    """
    cores = cores_of(wish.cpus)
    require_target(wish.target)
    device.require_device(wish.target)
    workers = device.workers_for(wish.target, wish.workers, len(cores), len(wish.archives))
    facts = check_archives(wish)
    device.require_package(wish.target)
    java = java_home(os.environ)
    state = wish.state.resolve()
    refuse_second(state)
    ports = choose_ports(wish.port)
    prepare(state)
    neuron = neuron_cores_of(wish.target)
    models = {made["task"]: archive.resolve() for made, archive in zip(facts, wish.archives)}
    server = Server(models, state, temporary_folder(), java, ports, workers, wish.threads, cores, neuron)
    record = record_of(server, facts)
    # A cancelled job is ended by SIGTERM: it shall clean up as Ctrl-C does.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        process = launch(server)
        record.update(pid=process.pid, pgid=process.pid, start_ticks=start_ticks(process.pid))
        write_record(record, state)
        wait_until_ready(server, process, timeout_of(wish))
        warm_up(server, wish.warm_requests)
    except BaseException as error:
        clean_up(record, state)
        if isinstance(error, (BuildProblem, KeyboardInterrupt)):
            raise
        raise BuildProblem(f"cannot start: {error}; log: {state / LOG}") from error
    finally:
        signal.signal(signal.SIGTERM, before)
    for made in facts:
        print(f"serving  {made['name']} ({made['version']}), workers {workers}, threads {wish.threads}")
        print(f"engine   {made['engine']}, {made['precision']}{instructions(made['target'])}")
        print(f"url      {record['url']}/predictions/{made['task']}")
    print(f"token    {wish.state / Path(record['token_file']).name}")
    print(f"stop     {stop_command(wish.state)}", flush=True)
    return 0


def check(state: Path, port: int) -> None:
    """Raise UserProblem where a server of this state folder runs, or a port that it would need is taken."""
    refuse_running(read_record(state.resolve()), state.resolve())
    choose_ports(port)


def stop_command(state: Path) -> str:
    """Return what stops the server of a state folder."""
    return "make stop" if state.resolve() == STATE.resolve() else f"python -m model serve stop --state {state}"


def instructions(target: str) -> str:
    """Return, for the CPU, what its kernels may choose among."""
    found = processor()["instructions"] if target == "cpu" else []
    return f" ({', '.join(found)})" if found else ""


def record_of(server: Server, facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what server.json says of a server that is about to be launched; of several models the first stands for it."""
    models = {
        made["task"]: {"model": made["name"], "version": made["version"], "archive": str(server.models[made["task"]])}
        for made in facts
    }
    return {
        "url": f"http://{HOST}:{server.ports['inference']}",
        "token_file": str(server.state / "key_file.json"),
        "target": facts[0]["target"],
        **models[facts[0]["task"]],
        "models": models,
        "workers": server.workers,
        "threads": server.threads,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "ports": server.ports,
        "temp": str(server.temp),
        "boot_id": boot_id(),
    }


def stop(state: Path) -> int:
    """Stop the server of a state folder and wait until it is gone; none is no error."""
    record = read_record(state.resolve())
    if record is None or not is_alive(record):
        print("nothing is running")
    else:
        print(f"stopping {record['url']}", flush=True)
    if record is not None:
        clean_up(record, state.resolve())
    return 0


def status(state: Path) -> int:
    """Say what runs: 0 a server, 1 none."""
    record = read_record(state.resolve())
    if record is None or not is_alive(record):
        print("nothing is running")
        return 1
    for name, made in record["models"].items():
        print(f"running  {made['model']} ({made['version']}) on {record['target']} since {record['started']}")
        print(f"url      {record['url']}/predictions/{name}")
    return 0


def check_archives(wish: Wish) -> list[dict[str, Any]]:
    """Return what is in the archives. Raises UserProblem where they cannot be served together."""
    found: dict[str, Path] = {}
    facts = []
    for path in wish.archives:
        made = check_archive(path, wish.target)
        if made["task"] in found:
            raise UserProblem(f"{path}: {found[made['task']]} is served as {made['task']} already; leave one of them out")
        found[made["task"]] = path
        facts.append(made)
    if len({path.resolve().parent for path in wish.archives}) > 1:
        raise UserProblem(f"{wish.archives[-1]}: TorchServe takes all its archives from one folder; put them into one")
    return facts


def check_archive(path: Path, target: str) -> dict[str, Any]:
    """Return artefact.json of an archive and its task; say so where its parity was not checked.

    Raises UserProblem where it is missing, broken or for another target.
    """
    if not path.is_file():
        raise UserProblem(f"{path}: no such archive; build one with `python -m model build`")
    try:
        facts = read_facts(path)
    except (ValueError, OSError) as error:
        raise UserProblem(f"{path}: the archive cannot be used: {error}; build it again") from error
    if facts["target"] != target:
        raise UserProblem(f"{path}: built for the target {facts['target']}, not {target}")
    if not facts["parity"] or facts["parity"].get("not_run"):
        print(f"note     {path}: parity was not checked; build it again on this machine to check it")
    return facts


def neuron_cores_of(target: str) -> tuple[int, ...]:
    """Return the NeuronCores that the workers share out among themselves."""
    return tuple(visible_cores(target)) if target in device.NEURON else ()


def timeout_of(wish: Wish) -> int:
    """Return how many seconds to wait for the first answer."""
    return wish.timeout_s or (TIMEOUT_S if wish.target == "cpu" else ACCELERATOR_TIMEOUT_S)


def cores_of(cpus: str | None) -> set[int]:
    """Return the cores that the server may use: those listed (0,2-3), else all of this process's."""
    allowed = os.sched_getaffinity(0)
    if cpus is None:
        return set(allowed)
    chosen: set[int] = set()
    try:
        for part in cpus.split(","):
            low, dash, high = part.partition("-")
            chosen.update(range(int(low), int(high if dash else low) + 1))
    except ValueError as error:
        raise UserProblem(f"--cpus {cpus}: not a list of cores; write it like 1 or 0,2-3") from error
    if not chosen or not chosen <= allowed:
        raise UserProblem(f"--cpus {cpus}: this machine offers the cores {', '.join(map(str, sorted(allowed)))}")
    return chosen


def refuse_second(state: Path) -> None:
    """Raise UserProblem where a server of this state folder runs; tidy up after one that died."""
    record = read_record(state)
    refuse_running(record, state)
    if record is not None:
        clean_up(record, state)


def refuse_running(record: dict[str, Any] | None, state: Path) -> None:
    """Raise UserProblem where the server of a record runs."""
    if record is not None and is_alive(record):
        stop = stop_command(state)
        raise UserProblem(
            f"{state}: a server is running already at {record['url']}; stop it ({stop}), or use another --state"
        )


def prepare(state: Path) -> None:
    """Make the state folder, readable by its owner alone: TorchServe writes the token before it hides it."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        shutil.rmtree(state / "logs", ignore_errors=True)
        (state / "logs").mkdir()
    except OSError as error:
        raise UserProblem(f"--state {state}: cannot be used: {error.strerror}") from error


def temporary_folder() -> Path:
    """Return a new folder for TorchServe's sockets and unpacked models."""
    try:
        # Not where TMPDIR says: the path of a socket may have 107 bytes, which some TMPDIRs nearly use up alone.
        return Path(tempfile.mkdtemp(prefix=TEMP_PREFIX, dir="/tmp"))
    except OSError as error:
        raise UserProblem(f"/tmp: cannot make a folder there: {error.strerror}; free some space") from error


def is_alive(record: dict[str, Any]) -> bool:
    """Tell whether anything of a recorded server lives. A number that another process uses by now does not count."""
    leader = start_ticks(record["pid"])
    if record["boot_id"] != boot_id() or leader not in (None, record["start_ticks"]):
        return False
    return bool(members(record["pgid"], marker(record)))


def clean_up(record: dict[str, Any], state: Path) -> None:
    """End whatever of a recorded server lives; remove its temporary folder, its tokens and its record."""
    if "pgid" in record and is_alive(record):
        end_group(record["pgid"], marker(record), java_pid(Path(record["temp"])), GRACE_S)
    # A record is only a file: whatever stands in it, nothing but a folder made here is removed.
    if Path(record["temp"]).name.startswith(TEMP_PREFIX):
        shutil.rmtree(record["temp"], ignore_errors=True)
    for name in ("key_file.json", "server.json"):
        (state / name).unlink(missing_ok=True)


def marker(record: dict[str, Any]) -> str:
    """Return the entry that every process of a server carries in its environment: no other has its temporary folder."""
    return f"TEMP={record['temp']}"


def read_record(state: Path) -> dict[str, Any] | None:
    """Return server.json of a state folder; None where there is none. Raises UserProblem where it is damaged."""
    path = state / "server.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise UserProblem(f"--state {state}: not a folder; name another") from error
    except (OSError, ValueError) as error:
        raise UserProblem(f"{path}: cannot be read; end TorchServe by hand and remove the file") from error
    if not isinstance(record, dict) or not record.keys() >= NEEDED:
        raise UserProblem(f"{path}: not a record of a server; end TorchServe by hand and remove the file")
    return record


def write_record(record: dict[str, Any], state: Path) -> None:
    """Write server.json whole or not at all."""
    partial = state / "server.json.partial"
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, state / "server.json")


assert sys.platform.startswith("linux"), "serving reads /proc"
