"""Blocks of a light load: every arrival is answered and comes back in order, or the measurement stops."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import light
from chatload.corpus import Utterance

UTTERANCES = [Utterance("where is my order", "order_status", "")]


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(light, "BLOCK_S", 2.0)  # its beginning may wait for the collector, in a process of many tests


def test_a_block_has_the_planned_arrivals_in_order(stand_in):
    url = stand_in("null")
    first, other = (light.served(light.plan_of(url, "", UTTERANCES, block), 200.0) for block in (0, 1))
    assert len(first) > 50
    assert (np.diff(first["intended_s"]) >= 0).all()
    assert (first["done_s"] >= first["sent_s"]).all()  # equal where the clock was set meanwhile
    assert np.median(first["done_s"] - first["sent_s"]) > 0
    assert not np.isin(first["intended_s"], other["intended_s"]).any()


def test_an_arrival_without_an_answer_stops_the_measurement(stand_in):
    url = stand_in("null")
    stand_in.kill()
    with pytest.raises(RuntimeError, match="^[1-9][0-9]* of [1-9][0-9]* arrivals were not answered"):
        light.served(light.plan_of(url, "", UTTERANCES, 0), 200.0)


def test_a_block_without_an_arrival_stops_the_measurement(stand_in):
    with pytest.raises(RuntimeError, match="^0 of 0 arrivals were not answered"):
        light.served(light.plan_of(stand_in("null"), "", UTTERANCES, 0), 1e-6)
