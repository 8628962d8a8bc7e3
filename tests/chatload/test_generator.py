"""The generator of a process, playing against a stand-in server."""

from __future__ import annotations

import sys

import gevent

from chatload import generator, samples
from chatload.corpus import Utterance


def test_many_rows_are_reported_before_their_time(stand_in, monkeypatch):
    """In small portions: arrivals wait for as long as a report takes."""
    monkeypatch.setattr(generator, "_REPORT_S", 1_000.0)
    monkeypatch.setattr(generator, "_PULSE_S", 1_000.0)
    reported: list[bytes] = []
    plan = generator.Plan(
        url=stand_in("null"),
        token_file="",
        tls=generator.Tls(),
        arrivals="poisson",
        seed=1,
        worker=0,
        timeout_s=10.0,
        max_in_flight=1_000,
        run_time_s=60.0,
        utterances=[Utterance("where is my order", "order_status", "")],
    )
    playing = generator.Generator(plan, lambda rows, labels, calls: reported.append(rows), lambda pulse: None)
    playing.start()
    playing.set_streams(100, 20.0)
    with gevent.Timeout(30):
        while len(reported) < 2:
            gevent.sleep(0.1)
    portions = [len(samples.from_bytes(rows)) for rows in reported]
    playing.stop()
    rows = samples.from_bytes(b"".join(reported))
    assert min(portions) >= 1_000
    assert len(rows) > sum(portions)  # the rest, which is no thousand any more
    assert (rows["outcome"] <= samples.WRONG).all()
    assert playing.facts.stamped == (sys.platform == "linux")
