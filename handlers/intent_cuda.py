"""The handler of the target cuda: the GPU that TorchServe gives to the worker."""

from __future__ import annotations

import os
from typing import Any

from cuda_model import CudaModel
from intent_service import IntentService

VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"


class IntentCuda(IntentService):
    """An intent model on an NVIDIA GPU."""

    model_class = CudaModel

    def initialize(self, ctx: Any) -> None:
        """Load the model onto the worker's GPU. Raises MissingDevice or BadArtefact: the worker does not start."""
        gpu = ctx.system_properties.get("gpu_id")
        if gpu is not None:
            # A trace keeps the number of the GPU that it was made on, the first: each worker sees its own as the first.
            os.environ[VISIBLE_DEVICES] = visible_gpu(int(gpu))
        super().initialize(ctx)


def visible_gpu(number: int) -> str:
    """Return what CUDA calls the GPU of a number, which counts from the first of those that the process may see."""
    named = os.environ.get(VISIBLE_DEVICES)
    return named.split(",")[number].strip() if named else str(number)
