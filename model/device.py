"""The device: whether this machine has what a target runs on, and how many workers it carries."""

from __future__ import annotations

from pathlib import Path

import neuron_cores

from model.problem import UserProblem

DEVICES = Path("/dev")
NEURON = ("inf1", "inf2")


def missing_device(target: str) -> str | None:
    """Return what is missing of a target's hardware, as its device files tell; None where it is there."""
    if target in NEURON and not neuron_cores.chips():
        return f"no Inferentia on this machine: there is no {neuron_cores.DEVICES}/neuron0 (is the Neuron driver loaded?)"
    if target == "cuda" and not gpus():
        return f"no NVIDIA GPU on this machine: there is no {DEVICES}/nvidia0 (is its driver loaded?)"
    return None


def gpus() -> list[Path]:
    """Return the device files of the machine's NVIDIA GPUs."""
    return sorted(path for path in DEVICES.glob("nvidia[0-9]*") if path.name[len("nvidia") :].isdigit())


def require_device(target: str) -> None:
    """Raise UserProblem unless the target's hardware is here."""
    missing = missing_device(target)
    if missing is not None:
        raise UserProblem(f"--target {target}: {missing}; use a machine that has it: docs/hardware.md")


def require_package(target: str) -> None:
    """Raise MissingDevice unless this Python can drive the target's hardware."""
    # Imported here: both need torch, which `device` shall not need before an environment is built.
    if target in NEURON:
        from neuron_model import import_neuron

        import_neuron(target)
    elif target == "cuda":
        from cuda_model import require_cuda

        require_cuda()


def workers_for(target: str, wanted: int | None, cores: int, models: int = 1) -> int:
    """Return how many workers serve each model: as wanted, else one per NeuronCore, one per GPU, or all CPU cores but one.

    Several models share the NeuronCores; on other targets each has one worker. Raises UserProblem for more workers in all
    than NeuronCores, each of which belongs to one process.
    """
    if target in NEURON:
        found = len(neuron_cores.visible_cores(target))
        share = wanted or found // models
        if not 0 < share * models <= found:
            asked = f"--workers {wanted}" if wanted else "one worker each"
            of = f", {models} models" if models > 1 else ""
            raise UserProblem(f"{asked}{of}: there are {found} NeuronCores, and each takes one worker")
        return share
    if wanted or models > 1:
        return wanted or 1
    return len(gpus()) if target == "cuda" else max(1, cores - 1)


def describe(target: str, cores: int) -> str:
    """Return what a target's workers run on, in a few words."""
    if target in NEURON:
        cores_seen = neuron_cores.format_cores(neuron_cores.visible_cores(target))
        return f"{len(neuron_cores.chips())} chips, NeuronCores {cores_seen}"
    return f"{len(gpus())} GPUs" if target == "cuda" else f"{cores} CPU cores"
