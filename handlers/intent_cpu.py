"""The handler of the target cpu: TorchScript on the CPU, which is what the intent model does unless told otherwise."""

from __future__ import annotations

from intent_model import IntentModel
from intent_service import IntentService


class IntentCpu(IntentService):
    """An intent model on the CPU."""

    model_class = IntentModel
