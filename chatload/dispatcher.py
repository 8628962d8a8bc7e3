"""Dispatcher: the one place where time passes. It waits for each arrival's intended time and sends it.

It never waits for an answer, and it never sends early. Nothing is skipped when it is late: an overdue arrival is sent at
once, and its lag is recorded.

While the event loop can wait, since the kernel keeps the time at which answers came, it also waits for near arrivals
itself, without the loop (docs/decisions/0317-near-arrivals-are-waited-for-without-the-loop.md). What becomes due while the
loop then reads answers is sent between two of them (docs/decisions/0319-arrivals-go-out-between-two-answers.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Protocol

from chatload.arrivals import Arrival


class Schedule(Protocol):
    """What says when arrivals are due: see arrivals.Schedule and timetable.Timetable. Seconds since the run's epoch."""

    due_s: float

    def set_rate(self, rate: float, at_s: float) -> None: ...

    def advance(self) -> float: ...


class Alarm(Protocol):
    """What the dispatcher needs of a timer: see timer.Timer. Moments are those of its clock."""

    def arm(self, at_s: float) -> None: ...

    def disarm(self) -> None: ...

    def sleep(self, until_s: float) -> None: ...


# The longest that the event loop waits for its turn; its own timers are no finer.
_TURN_S = 1e-3


class Dispatcher:
    """Sends the arrivals of a schedule, each with the next utterance, at their intended times.

    ``utterances`` gives what an arrival has beside its time: utterance and variant, session and turn where there are any; it
    is asked after the schedule. ``clock`` counts seconds as ``alarm`` does; ``epoch_s`` is the run's zero on it. ``send``
    takes an arrival. The plan ends at ``end_s``, or earlier when it is stopped. ``can_wait`` says whether the event loop can
    for a millisecond.
    """

    # Sends in a row before the event loop has its turn; more would starve the answers of an overloaded generator.
    _BURST = 32
    # Sends during the loop's turn, unless so many were overdue after the last: sending between two answers takes longer than
    # in a row, and who is behind has no time for it.
    _MEANWHILE, _BEHIND = 2, 5

    def __init__(
        self,
        schedule: Schedule,
        utterances: Iterator[tuple[int, ...]],
        send: Callable[[Arrival], None],
        clock: Callable[[], float],
        epoch_s: float,
        end_s: float,
        can_wait: Callable[[], bool],
    ) -> None:
        self._schedule = schedule
        self._utterances = utterances
        self._send = send
        self._clock = clock
        self._epoch_s = epoch_s
        self._end_s = end_s
        self._can_wait = can_wait
        self._alarm: Alarm | None = None
        self.stopped_s: float | None = None
        self._meanwhile = 0  # how many may yet be sent before the next wake

    def start(self, alarm: Alarm) -> None:
        """From now on ``alarm`` must call ``wake`` at the moments it is armed for."""
        self._alarm = alarm
        self._arm()

    @property
    def due_s(self) -> float:
        """The intended time of the next arrival, or the plan's end."""
        return self._schedule.due_s if self.stopped_s is None else self.stopped_s

    def set_rate(self, rate: float) -> None:
        """From now on, offer ``rate`` arrivals per second."""
        if self.stopped_s is None:
            self._schedule.set_rate(rate, self._clock() - self._epoch_s)
            self._arm()

    def stop(self) -> float:
        """Ends the plan, and returns its end in seconds since the epoch.

        That is now, or the first arrival that is overdue: whoever stops a run may have held up the process before (Locust
        inspects its call stack for 50 ms), and arrivals that were never sent are not part of the run.
        """
        if self.stopped_s is None:
            self.stopped_s = min(self._clock() - self._epoch_s, self._schedule.due_s, self._end_s)
            if self._alarm is not None:
                self._alarm.disarm()
        return self.stopped_s

    def wake(self) -> None:
        """Sends what is due, at most a burst of it, and sets the alarm for the next arrival."""
        alarm = self._alarm
        if self.stopped_s is not None or alarm is None:
            return
        schedule, clock, epoch_s = self._schedule, self._clock, self._epoch_s
        woken_s = now_s = clock()
        overdue = 0
        for _ in range(self._BURST):
            due_s = epoch_s + schedule.due_s  # rounded as the alarm is, or it would ring too early for ever
            if due_s <= now_s:
                overdue += 1
            elif overdue > 1 or due_s > woken_s + _TURN_S or not self._can_wait():
                break  # who is behind leaves it to the loop to read all answers that have come
            else:
                overdue = 0
                alarm.sleep(due_s)
            if schedule.due_s >= self._end_s:
                self.stop()
                return
            self._send(Arrival(schedule.advance(), *next(self._utterances)))
            now_s = clock()
        self._meanwhile = self._MEANWHILE if overdue < self._BEHIND else 0
        self._arm()

    def catch_up(self) -> None:
        """Sends the next arrival if it has become due while the event loop has its turn, which goes on after it.

        Only a few times a turn, and not while behind. The alarm rings all the same, and is then set anew.
        """
        if not self._meanwhile or self.stopped_s is not None:
            return
        due_s = self._schedule.due_s
        if self._epoch_s + due_s <= self._clock() and due_s < self._end_s:
            self._meanwhile -= 1
            self._send(Arrival(self._schedule.advance(), *next(self._utterances)))

    def _arm(self) -> None:
        if self._alarm is None:
            return
        if self._schedule.due_s == math.inf:
            self._alarm.disarm()
        else:
            self._alarm.arm(self._epoch_s + self._schedule.due_s)
