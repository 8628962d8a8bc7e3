"""The handler of the target inf2: one NeuronCore of an Inferentia2 per worker."""

from __future__ import annotations

from intent_service import IntentService
from neuron_model import Inf2Model


class IntentInf2(IntentService):
    """An intent model on Inferentia2."""

    model_class = Inf2Model
