"""Simulation: arrivals through the queue of each instance, event by event.

An instance is TorchServe as it serves one model: one queue, first come, first served, in front of ``workers``; what finds
``queue_limit`` waiting is refused at once; a customer who gives up stays in the queue and is served all the same.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

import numpy as np

# For each of the moments at which one instance gets arrivals: the seconds that are added to what things take there, and how
# many times as long that takes.
Pace = Callable[[np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]

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


@dataclass(frozen=True)
class Service:
    """For how long each arrival would occupy a worker, by what that worker did before: ``times_s[state, arrival]``.

    State 0 is that of a worker in full swing: its request was queued, and so was the one before. In state 1 the request was
    queued and the one before was not; a worker that was idle for ``rests_s[0]`` or longer is in state 2, and so on.
    ``rests_s`` begins with 0 and ascends. One row, and no ``rests_s``, where all that makes no difference.
    """

    times_s: np.ndarray
    rests_s: Sequence[float] = ()

    def by_arrival(self) -> Iterator[tuple[float, ...]]:
        """The times of each arrival by state."""
        rows = self.times_s.tolist()
        return zip(*(rows if self.rests_s else 2 * rows), strict=True)

    def of(self, which: np.ndarray) -> Service:
        """The same for some of the arrivals."""
        return Service(self.times_s[:, which], self.rests_s)

    def at(self, added_s: np.ndarray, factors: np.ndarray) -> Service:
        """The same at a pace that adds so many seconds to each arrival's time, and makes it so many times as long."""
        return Service(np.maximum(self.times_s + added_s, 0.0) * factors, self.rests_s)


def even(moments_s: np.ndarray, _generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The pace of a machine that has but one."""
    return np.zeros(len(moments_s)), np.ones(len(moments_s))


def latencies_s(arrivals_s: np.ndarray, service: Service, instance: Instance) -> np.ndarray:
    """The latency of each arrival, in ascending order of time, at one instance; infinite: refused or timed out."""
    serve = _queue(instance, service.rests_s)
    ended_s = np.array([serve(at_s, for_s) for at_s, for_s in zip(arrivals_s.tolist(), service.by_arrival(), strict=True)])
    return _answered(ended_s - arrivals_s + instance.pass_s, instance.timeout_s)


def fleet_latencies_s(
    arrivals_s: np.ndarray,
    service: Service,
    instance: Instance,
    instances: int,
    routing: str,
    generator: np.random.Generator,
    pace: Pace = even,
) -> np.ndarray:
    """The same for ``instances`` equal ones behind a balancer that routes as one of ROUTINGS says.

    ``least-outstanding`` sends to one of those with the fewest requests that still have a customer, by lot among equals.
    Each goes at a ``pace`` of its own.
    """
    if instances == 1:
        return latencies_s(arrivals_s, service.at(*pace(arrivals_s, generator)), instance)
    if routing == "least-outstanding":
        return _least_outstanding_s(arrivals_s, service, instance, instances, generator, pace)
    count = len(arrivals_s)
    chosen = generator.integers(instances, size=count) if routing == "random" else np.arange(count) % instances
    found_s = np.empty(count)
    for number in range(instances):
        mine = chosen == number
        paced = service.of(mine).at(*pace(arrivals_s[mine], generator))
        found_s[mine] = latencies_s(arrivals_s[mine], paced, instance)
    return found_s


def _queue(instance: Instance, rests_s: Sequence[float]) -> Callable[[float, Sequence[float]], float]:
    """A queue as a function: an arrival's moment and service times by state, to the moment of its end; infinite: refused."""
    free_s = [-math.inf] * instance.workers
    # Starts ascend, so the queue is full when the one that started queue_limit starts ago has not started yet.
    last_starts_s = deque([-math.inf] * instance.queue_limit, maxlen=instance.queue_limit)
    queued = 0  # in a row; the workers take turns

    def serve(at_s: float, times_s: Sequence[float]) -> float:
        nonlocal queued
        start_s = free_s[0]
        if start_s <= at_s:
            queued = 0
            end_s = at_s + times_s[1 + bisect_right(rests_s, at_s - start_s)]
            start_s = at_s
        elif last_starts_s[0] > at_s:
            return math.inf
        else:
            queued += 1
            end_s = start_s + times_s[0 if queued > instance.workers else 1]
        heapreplace(free_s, end_s)
        last_starts_s.append(start_s)
        return end_s

    return serve


def _least_outstanding_s(
    arrivals_s: np.ndarray,
    service: Service,
    instance: Instance,
    instances: int,
    generator: np.random.Generator,
    pace: Pace,
) -> np.ndarray:
    queues = [_queue(instance, service.rests_s) for _ in range(instances)]
    outstanding = [0] * instances
    leaving: list[tuple[float, int]] = []
    lots = generator.random(len(arrivals_s)).tolist()
    # A pace is known as often as an instance gets an arrival.
    paces = [list(zip(*pace(arrivals_s[::instances], generator), strict=True)) for _ in range(instances)]
    found_s = []
    for number, (at_s, for_s, lot) in enumerate(zip(arrivals_s.tolist(), service.by_arrival(), lots, strict=True)):
        while leaving and leaving[0][0] <= at_s:
            outstanding[heappop(leaving)[1]] -= 1
        fewest = min(outstanding)
        equals = [which for which, count in enumerate(outstanding) if count == fewest]
        chosen = equals[int(lot * len(equals))]
        added_s, factor = paces[chosen][number // instances]
        paced_s = [max(time_s + added_s, 0.0) * factor for time_s in for_s]
        latency_s = queues[chosen](at_s, paced_s) - at_s + instance.pass_s
        if latency_s < math.inf:  # a refused one is gone at once
            outstanding[chosen] += 1
            heappush(leaving, (at_s + min(latency_s, instance.timeout_s), chosen))
        found_s.append(latency_s)
    return _answered(np.array(found_s), instance.timeout_s)


def _answered(latency_s: np.ndarray, timeout_s: float) -> np.ndarray:
    return np.where(latency_s > timeout_s, np.inf, latency_s)
