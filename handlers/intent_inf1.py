"""The handler of the target inf1: one NeuronCore of an Inferentia per worker."""

from __future__ import annotations

from intent_service import IntentService
from neuron_model import Inf1Model


class IntentInf1(IntentService):
    """An intent model on Inferentia."""

    model_class = Inf1Model
