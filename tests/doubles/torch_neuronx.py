"""A test double of torch_neuronx: `trace` as AWS documents it, on neuron_runtime."""

from __future__ import annotations

import neuron_runtime
import torch

neuron_runtime.add_operator("forward_v3")


class Compiled(torch.nn.Module):
    """What trace gives: a call of the operator on a program."""

    def __init__(self, neff, shapes):
        super().__init__()
        self.register_buffer("neff", neff)
        self.register_buffer("shapes", shapes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        return torch.ops.neuron.forward_v3([ids, mask, types], self.neff, self.shapes)


def trace(
    func,
    example_inputs,
    *_,
    input_output_aliases=None,
    compiler_workdir=None,
    compiler_args=None,
    partitioner_config=None,
    inline_weights_to_neff=True,
    cpu_backend=False,
):
    """Return a compiled graph. Without a device only for a named target, as the real one."""
    if _:
        raise TypeError("kwargs are keyword-only")
    arguments = compiler_args if isinstance(compiler_args, str) else " ".join(compiler_args or [])
    if cpu_backend and "--target" not in arguments:
        raise RuntimeError(
            "If you want to compile on CPU, please supply compiler argument target, with one of options "
            'trn1, inf2, trn1n, or trn2. Ex: "--target trn1"'
        )
    if not cpu_backend:
        if not neuron_runtime.has_device():
            raise RuntimeError(
                "Bad StatusOr access: INVALID_ARGUMENT: PJRT_Client_Create: error condition nullptr != "
                "(args)->client->Error(): Init: error condition !(num_devices > 0):"
            )
        neuron_runtime.initialize()
    neuron_runtime.log_compile(compiler_workdir, "neuronx-cc", arguments)
    return torch.jit.script(Compiled(*neuron_runtime.compile_graph(func, example_inputs)))
