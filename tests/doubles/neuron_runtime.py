"""A test double of the Neuron runtime: it computes on the CPU and enforces what AWS documents of the real one.

A NeuronCore is a file in the folder that NEURON_DOUBLE names, owned by one process until that ends. Error texts are the real
ones, as AWS's troubleshooting pages and issues quote them.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import sys
import warnings
from pathlib import Path

import torch

NOT_INITIALIZED = (
    "The PyTorch Neuron Runtime could not be initialized. Neuron Driver issues are logged\n"
    "to your system logs. See the Neuron Runtime's troubleshooting guide for help on this\ntopic: https://a"
)
# torch 1.13 drops the text of an error that an operator written in Python raises inside TorchScript.
CARRIES_TEXT = not torch.__version__.startswith("1.")
# One registration of the namespace serves both packages; each adds its own operator when it is imported.
LIBRARY = torch.library.Library("neuron", "DEF")

_process: dict[str, int] = {}
_cores: dict[int, io.TextIOWrapper] = {}
_models: dict[bytes, object] = {}


def add_operator(name):
    """Make the operator that compiled files call; without it torch.jit.load refuses them in torch's own words."""
    LIBRARY.define(f"{name}(Tensor[] inputs, Tensor neff, Tensor shapes) -> Tensor")
    LIBRARY.impl(name, execute, "CPU")


def has_device():
    folder = os.environ.get("NEURON_DOUBLE")
    return bool(folder) and any(Path(folder).iterdir())


def fail(line):
    print(line, file=sys.stderr)
    raise RuntimeError(NOT_INITIALIZED)


def initialize():
    """Take the visible cores, or all, at the first use; what the environment says afterwards changes nothing."""
    if _process:
        if _process["pid"] != os.getpid():
            fail("ERROR NRT:nrt_allocate_tensor_set Incompatible runtime state: NRT_STATE_CHILD")
        return
    if not has_device():
        fail("ERROR  TDRV:tdrv_get_dev_info  No neuron device available")
    folder = Path(os.environ["NEURON_DOUBLE"])
    for core in wanted_cores() or sorted(int(path.name) for path in folder.iterdir()):
        take(folder / str(core), core)
    _process["pid"] = os.getpid()


def wanted_cores():
    """Return NEURON_RT_VISIBLE_CORES as the runtime reads it: a number or an inclusive range."""
    low, dash, high = os.environ.get("NEURON_RT_VISIBLE_CORES", "").partition("-")
    return list(range(int(low), int(high if dash else low) + 1)) if low else []


def take(path, core):
    try:
        file = path.open("r+")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        fail(
            "ERROR   NRT:nrt_allocate_neuron_cores               "
            f"NeuronCore(s) not available - Requested:nc{core}-nc{core} Available:0"
        )
    file.write(str(os.getpid()))
    file.flush()
    _cores[core] = file


def owned_cores():
    return sorted(_cores)


def compile_graph(model, example_inputs):
    """Return a program [bytes] and its inputs' shapes, fixed. Raises where torch's own tracer does: dictionaries, say."""
    if not isinstance(example_inputs, tuple):
        raise TypeError("example_inputs: a tuple of tensors, in the order of forward")
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, example_inputs, check_trace=False)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    neff = torch.frombuffer(bytearray(file.getvalue()), dtype=torch.uint8)
    return neff, torch.tensor([list(value.shape) for value in example_inputs])


def execute(inputs, neff, shapes):
    """Run a program on an owned core; inputs of another shape than it was compiled for are refused."""
    initialize()
    for index, (given, expected) in enumerate(zip(inputs, shapes.tolist(), strict=True)):
        if given.device.type != "cpu":
            raise RuntimeError("inputs come from the CPU")
        if list(given.shape) != expected:
            received, wanted = next(pair for pair in zip(given.shape, expected, strict=True) if pair[0] != pair[1])
            raise RuntimeError(f"Incorrect tensor shape at input #{index}: received {received}, expected {wanted}")
    return loaded(neff)(*inputs).clone()


def loaded(neff):
    source = neff.numpy().tobytes()
    key = hashlib.sha256(source).digest()
    if key not in _models:
        _models[key] = torch.jit.load(io.BytesIO(source))
    return _models[key]


def log_compile(workdir, compiler, arguments):
    """Leave the compiler's log in its work directory, as the real compilers do."""
    if workdir is not None:
        Path(workdir).mkdir(parents=True, exist_ok=True)
        (Path(workdir) / "log-neuron-cc.txt").write_text(f"{compiler} compile {arguments}\n")
