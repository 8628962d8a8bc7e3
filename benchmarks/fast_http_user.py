"""The peer: Locust's own FastHttpUser, closed loop, as fast as it can, posting the same request as chatload.

With CHECK=1 it also looks at each answer, as chatload always does. Run by benchmarks/generators.py. Prints one JSON line at
the end: requests, seconds, CPU seconds, median and p99 in ms.
"""

import json
import os
import time

from locust import FastHttpUser, constant_throughput, events, task

_EACH = float(os.environ.get("EACH_USER_PER_S", "0"))  # 0: as fast as it can
_CHECK = os.environ.get("CHECK") == "1"
_started: dict[str, float] = {}
QUESTION, EXPECTED = {"text": "change company address"}, "out_of_scope"  # what the null server answers


class Closed(FastHttpUser):
    if _EACH:
        wait_time = constant_throughput(_EACH)

    @task
    def ask(self) -> None:
        if not _CHECK:
            self.client.post("/predictions/intent", json=QUESTION)
            return
        with self.client.post("/predictions/intent", json=QUESTION, catch_response=True) as response:
            if response.json()["intent"] != EXPECTED:
                response.failure("wrong")


@events.test_start.add_listener
def _start(**_: object) -> None:
    _started.update(clock_s=time.perf_counter(), cpu_s=time.process_time())


@events.test_stopping.add_listener
def _stop(environment: object, **_: object) -> None:
    total = environment.stats.total  # type: ignore[attr-defined]
    found = {
        "requests": total.num_requests,
        "seconds": time.perf_counter() - _started["clock_s"],
        "cpu_s": time.process_time() - _started["cpu_s"],
        "p50_ms": total.get_response_time_percentile(0.5),
        "p99_ms": total.get_response_time_percentile(0.99),
        "failures": total.num_failures,
    }
    print(json.dumps(found), flush=True)
