"""The model alone under a run's arrivals: a queue of one thread, timed from the intended moments."""

from __future__ import annotations

import time

from benchmarks.unserved import replay


def test_who_comes_while_the_model_is_busy_waits_and_the_wait_counts():
    asked: list[str] = []

    def infer(tokens: str) -> None:
        asked.append(tokens)
        time.sleep(0.02)

    began_s = time.perf_counter()
    latencies_s = replay([0.0, 0.0, 0.2], ["a", "b", "c"], infer)
    assert asked == ["a", "b", "c"]
    assert latencies_s[0] >= 0.02
    assert latencies_s[1] >= 0.04  # behind the first
    assert latencies_s[2] >= 0.02
    assert time.perf_counter() - began_s >= 0.22  # the last was not asked before its time
