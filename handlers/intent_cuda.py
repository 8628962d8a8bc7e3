"""The handler of the target cuda: the GPU that TorchServe gives to the worker."""

from __future__ import annotations

from typing import Any

import torch
from cuda_model import CudaModel, require_cuda
from intent_service import IntentService


class IntentCuda(IntentService):
    """An intent model on an NVIDIA GPU."""

    model_class = CudaModel

    def initialize(self, ctx: Any) -> None:
        """Load the model onto the worker's GPU. Raises MissingDevice or BadArtefact: the worker does not start."""
        require_cuda()
        torch.cuda.set_device(int(ctx.system_properties.get("gpu_id") or 0))
        super().initialize(ctx)
