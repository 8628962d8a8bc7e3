"""The handler of the target cpu."""

from __future__ import annotations

from cpu_model import CpuModel
from intent_service import IntentService


class IntentCpu(IntentService):
    """An intent model on the CPU."""

    model_class = CpuModel
