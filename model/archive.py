"""The archive: an artefact, its handler and its settings as one .mar file, the same bytes for the same inputs."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

from model import HANDLERS
from model.layout import ARTEFACT_JSON, artefact_files

CONFIG_NAME = "model-config.yaml"
MANIFEST = "MAR-INF/MANIFEST.json"
FINGERPRINT = "MAR-INF/FINGERPRINT"
SHARED_HANDLERS = ("intent_codec.py", "intent_model.py", "intent_service.py", "worker_log.py", "worker_socket.py")
NEURON_HANDLERS = ("missing_device.py", "neuron_cores.py", "neuron_model.py")
TARGET_HANDLERS = {
    "cpu": ("cpu_model.py",),
    "cuda": ("missing_device.py", "cuda_model.py"),
    "inf1": NEURON_HANDLERS,
    "inf2": NEURON_HANDLERS,
}
EPOCH = (1980, 1, 1, 0, 0, 0)

# How many workers run is the machine's business, so it is left to default_workers_per_model, which `serve` sets.
# Timeouts stand here since the mere presence of this file makes those of config.properties ineffective.
CONFIG = """\
# Answers are wanted one by one: a batch would make its first utterance wait for its last.
batchSize: 1
# A worker that has been busy with one utterance for this long hangs: it is killed and loaded again.
responseTimeout: 30
# Importing a target's packages and loading a large model from a cold disk take a while.
startupTimeout: 600
# Utterances beyond these are answered 503 at once: a customer who would wait longer has left.
jobQueueSize: 100
# CPU threads of one inference; INTENT_THREADS in the environment overrides it.
threads: 1
# With gpu TorchServe spreads its workers over the GPUs; it has no word for Inferentia, whose workers find their cores.
deviceType: {device}
"""


def handler_files(target: str) -> list[Path]:
    """Return the handler modules that a target's archive carries."""
    return [HANDLERS / name for name in (*SHARED_HANDLERS, *TARGET_HANDLERS[target], handler_name(target))]


def handler_name(target: str) -> str:
    """Return the module that holds a target's skin."""
    return f"intent_{target}.py"


def write_archive(artefact: Path, target: str, task: str, fingerprint: str, path: Path) -> None:
    """Write the .mar of an artefact folder, for TorchServe a model of the task's name; it appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as mar:
        for name, content in sorted(members(artefact, target, task, fingerprint)):
            mar.writestr(member(name), content)
    os.replace(partial, path)


def members(artefact: Path, target: str, task: str, fingerprint: str) -> list[tuple[str, bytes]]:
    """Return what an archive holds: names and bytes."""
    facts = json.loads((artefact / ARTEFACT_JSON).read_text(encoding="utf-8"))
    sources = [*handler_files(target), *(artefact / name for name in artefact_files(facts))]
    return [
        (MANIFEST, json.dumps(manifest(target, task), indent=2).encode("utf-8")),
        (FINGERPRINT, fingerprint.encode("ascii")),
        (CONFIG_NAME, CONFIG.format(device="gpu" if target == "cuda" else "cpu").encode("utf-8")),
        *((source.name, source.read_bytes()) for source in sources),
    ]


def manifest(target: str, task: str) -> dict[str, Any]:
    """Return TorchServe's manifest. Its date is fixed: the same inputs shall give the same bytes."""
    return {
        "createdOn": "01/01/1980 00:00:00",
        "runtime": "python",
        "model": {
            "modelName": task,
            "modelVersion": "1.0",
            "handler": handler_name(target),
            "configFile": CONFIG_NAME,
        },
        "archiverVersion": "0.12.0",
    }


def member(name: str) -> zipfile.ZipInfo:
    """Return a member's entry with a fixed date and mode."""
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    return entry


def fingerprint_in(path: Path) -> str | None:
    """Return the fingerprint of an existing archive; None where there is none or it is broken."""
    try:
        with zipfile.ZipFile(path) as mar:
            return mar.read(FINGERPRINT).decode("ascii")
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return None


def read_facts(path: Path) -> dict[str, Any]:
    """Return artefact.json of an archive and its task, every member's checksum checked. Raises ValueError with the cause."""
    try:
        with zipfile.ZipFile(path) as mar:
            broken = mar.testzip()
            if broken is not None:
                raise ValueError(f"{broken} in it is damaged")
            task = json.loads(mar.read(MANIFEST))["model"]["modelName"]
            return {**json.loads(mar.read(ARTEFACT_JSON)), "task": task}
    except zipfile.BadZipFile as error:
        raise ValueError("it is not a zip file") from error
    except KeyError as error:
        raise ValueError(f"it is not an archive of this project: {error.args[0]}") from error
