"""A test double of torch_neuron: `trace` as AWS documents it, on neuron_runtime."""

from __future__ import annotations

import sys

import neuron_runtime
import torch

neuron_runtime.add_operator("forward_v2_1")
DOCUMENTED = {
    "compiler_args", "compiler_timeout", "compiler_workdir", "subgraph_builder_function", "minimum_segment_size",
    "single_fusion_ratio_threshold", "fallback", "dynamic_batch_size", "optimizations", "separate_weights", "verbose",
    "strict",
}  # fmt: skip


class Compiled(torch.nn.Module):
    """What trace gives: a call of the operator on a program."""

    def __init__(self, neff, shapes):
        super().__init__()
        self.register_buffer("neff", neff)
        self.register_buffer("shapes", shapes)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
        return torch.ops.neuron.forward_v2_1([ids, mask, types], self.neff, self.shapes)


def trace(model, example_inputs, **kwargs):
    """Return a compiled graph; no device is needed for it."""
    unknown = kwargs.keys() - DOCUMENTED
    if unknown:
        raise TypeError(f"trace() got unexpected keyword arguments: {sorted(unknown)}")
    neuron_runtime.log_compile(kwargs.get("compiler_workdir"), "neuron-cc", " ".join(kwargs.get("compiler_args") or []))
    return torch.jit.script(Compiled(*neuron_runtime.compile_graph(model, example_inputs)))


torch.neuron = sys.modules[__name__]
