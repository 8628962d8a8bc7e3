"""Simulation: arrivals through the queue of each instance, event by event.

An instance is TorchServe as it serves one model: one queue, first come, first served, in front of ``workers``; what finds
``queue_limit`` waiting is refused at once; a customer who gives up stays in the queue and is served all the same.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

import numpy as np

ROUTINGS = ("random", "round-robin", "least-outstanding")


@dataclass(frozen=True)
class Instance:
    """One server: ``queue_limit`` requests, at least one, may wait beside those in the workers' hands.

    ``pass_s`` is what an answer takes beside the time for which it occupies a worker: network and front end. It is
    negative where a worker is still busy with a request when its answer has already come. ``timeout_s`` is the customer's.
    """

    workers: int
    queue_limit: int
    timeout_s: float
    pass_s: float = 0.0


def latencies_s(arrivals_s: np.ndarray, service_s: np.ndarray, instance: Instance) -> np.ndarray:
    """The latency of each arrival at one instance; infinite for what was refused or timed out.

    ``arrivals_s`` ascends; ``service_s``, of the same length, is how long each occupies a worker.
    """
    begin = _queue(instance)
    started_s = np.array([begin(at_s, for_s) for at_s, for_s in zip(arrivals_s.tolist(), service_s.tolist(), strict=True)])
    return _answered(started_s - arrivals_s + service_s + instance.pass_s, instance.timeout_s)


def fleet_latencies_s(
    arrivals_s: np.ndarray,
    service_s: np.ndarray,
    instance: Instance,
    instances: int,
    routing: str,
    generator: np.random.Generator,
) -> np.ndarray:
    """The same for ``instances`` equal ones behind a balancer that routes as one of ROUTINGS says.

    ``least-outstanding`` sends to one of those with the fewest requests that still have a customer, by lot among equals.
    """
    if instances == 1:
        return latencies_s(arrivals_s, service_s, instance)
    if routing == "least-outstanding":
        return _least_outstanding_s(arrivals_s, service_s, instance, instances, generator)
    count = len(arrivals_s)
    chosen = generator.integers(instances, size=count) if routing == "random" else np.arange(count) % instances
    found_s = np.empty(count)
    for number in range(instances):
        mine = chosen == number
        found_s[mine] = latencies_s(arrivals_s[mine], service_s[mine], instance)
    return found_s


def _queue(instance: Instance) -> Callable[[float, float], float]:
    """A queue as a function: the arrival's moment and service time, to the moment at which it starts; infinite: refused."""
    free_s = [-math.inf] * instance.workers
    # Starts ascend, so the queue is full when the one that started queue_limit starts ago has not started yet.
    last_starts_s = deque([-math.inf] * instance.queue_limit, maxlen=instance.queue_limit)

    def begin(at_s: float, for_s: float) -> float:
        start_s = free_s[0]
        if start_s <= at_s:
            start_s = at_s
        elif last_starts_s[0] > at_s:
            return math.inf
        heapreplace(free_s, start_s + for_s)
        last_starts_s.append(start_s)
        return start_s

    return begin


def _least_outstanding_s(
    arrivals_s: np.ndarray, service_s: np.ndarray, instance: Instance, instances: int, generator: np.random.Generator
) -> np.ndarray:
    queues = [_queue(instance) for _ in range(instances)]
    outstanding = [0] * instances
    leaving: list[tuple[float, int]] = []
    lots = generator.random(len(arrivals_s)).tolist()
    found_s = []
    for at_s, for_s, lot in zip(arrivals_s.tolist(), service_s.tolist(), lots, strict=True):
        while leaving and leaving[0][0] <= at_s:
            outstanding[heappop(leaving)[1]] -= 1
        fewest = min(outstanding)
        equals = [number for number, count in enumerate(outstanding) if count == fewest]
        chosen = equals[int(lot * len(equals))]
        latency_s = queues[chosen](at_s, for_s) - at_s + for_s + instance.pass_s
        if latency_s < math.inf:  # a refused one is gone at once
            outstanding[chosen] += 1
            heappush(leaving, (at_s + min(latency_s, instance.timeout_s), chosen))
        found_s.append(latency_s)
    return _answered(np.array(found_s), instance.timeout_s)


def _answered(latency_s: np.ndarray, timeout_s: float) -> np.ndarray:
    return np.where(latency_s > timeout_s, np.inf, latency_s)
