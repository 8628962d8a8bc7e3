"""Timer: wakes the event loop at an absolute moment.

gevent's own timers are rounded to 1 ms by libev (epoll_wait takes whole milliseconds). A Linux timerfd watched by the same
loop is not: timerfd_create(2). Where there is no timerfd, the loop's timer serves, and the run's header says so.

To sleep and to be woken costs a process more than 10 us of its CPU time, so a moment that is nearer than that is waited for
awake (docs/decisions/0315-near-moments-are-waited-for-awake.md), and so is the end of a longer wait, since who has slept
for long wakes up late (docs/decisions/0318-a-long-sleep-ends-early.md). Who needs nothing of the loop meanwhile sleeps
without it, which costs less.

One that is to stay awake never sleeps: where a virtual machine's host takes long to give a core back, nothing else is on
time (docs/decisions/0320-a-generator-can-stay-awake.md).
"""

from __future__ import annotations

import ctypes
import functools
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

from gevent import monkey

# The real one: gevent's would give the loop its turn.
_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
_READ = 1
_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_PR_SET_TIMERSLACK = 29
_NANOSECONDS = 1_000_000_000
_NEAR_S = 20e-6
_LOOK_S = 6e-6  # looks further apart than that had work between them, or another process
_LONG_S = 400e-6
_EARLY_SHARE = 0.05  # so much of a core at most, of one that has little else to do
_EARLIEST_S = 200e-6


class TimerError(ValueError):
    """A timer that this system does not have; the message says what to do."""


class Timer(Protocol):
    """Calls back at an armed moment of time.perf_counter(), or somewhat before it; arming again replaces the moment.

    Who is called back early, or has nothing to wait for any more, arms or disarms it again. ``spare_s`` is the CPU time that
    it has spent on nothing but looking at the clock: time that a busier process would have for its work.
    """

    name: str
    spare_s: float

    def arm(self, at_s: float) -> None: ...

    def disarm(self) -> None: ...

    def sleep(self, until_s: float) -> None:
        """Returns at that moment; until then nothing else happens in this process."""

    def close(self) -> None: ...


def _early_s(rest_s: float) -> float:
    """How much earlier than its moment a sleep of that length ends."""
    return min(_EARLY_SHARE * rest_s, _EARLIEST_S) if rest_s > _LONG_S else 0.0


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class TimerFd:
    """A timerfd on CLOCK_MONOTONIC, which is time.perf_counter()'s clock on Linux; ``awake``: waits for nothing asleep.

    Its descriptor is never read: once it has rung it stays readable until it is armed anew, so that the loop comes straight
    back. That is how it waits awake.
    """

    def __init__(self, loop: Any, callback: Callable[[], None], awake: bool = False) -> None:
        self.name = "timerfd, awake" if awake else "timerfd"
        self._awake = awake
        self._near_s = math.inf if awake else _NEAR_S
        libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        # A timerfd is exact, but Linux lets any other sleep last 50 us longer than it was asked to: prctl(2).
        libc.prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
        self._spec = _Itimerspec()
        self._value = self._spec.value
        # Converted once: ctypes would convert them again for each of many thousand calls a second.
        arguments = (ctypes.c_int(self._fd), ctypes.c_int(_TFD_TIMER_ABSTIME), ctypes.byref(self._spec), None)
        self._settime = functools.partial(libc.timerfd_settime, *arguments)
        self._armed_s = math.inf
        self._for_s = math.inf  # the moment that it was armed for
        self._looked_s = -math.inf
        self.spare_s = 0.0
        self._watcher = loop.io(self._fd, _READ)
        self._watcher.start(callback)

    def arm(self, at_s: float) -> None:
        now_s = time.perf_counter()
        rest_s = at_s - now_s
        if self._armed_s <= now_s and (rest_s < self._near_s or at_s == self._for_s):  # it has rung
            if now_s - self._looked_s < _LOOK_S:
                self.spare_s += now_s - self._looked_s
            self._looked_s = now_s
            return
        self._for_s = at_s
        self._armed_s = at_s = now_s if self._awake else at_s - _early_s(rest_s)
        seconds = int(at_s)
        self._value.seconds = seconds
        self._value.nanoseconds = max(int((at_s - seconds) * _NANOSECONDS), 1)  # zero would disarm
        self._settime()

    def sleep(self, until_s: float) -> None:
        now_s = time.perf_counter()
        rest_s = until_s - now_s
        was_woken_for_it = self._armed_s <= now_s and until_s == self._for_s
        if rest_s > self._near_s and not was_woken_for_it:
            _sleep(rest_s - _early_s(rest_s))
            now_s = time.perf_counter()
        while now_s < until_s:
            looked_s, now_s = now_s, time.perf_counter()
            if now_s - looked_s < _LOOK_S:
                self.spare_s += now_s - looked_s

    def disarm(self) -> None:
        self._armed_s = math.inf
        self._value.seconds = self._value.nanoseconds = 0
        self._settime()

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


class LoopTimer:
    """The event loop's own timer: portable, and as coarse as the loop."""

    name = "event loop (1 ms)"
    spare_s = 0.0

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._watcher: Any = None

    def arm(self, at_s: float) -> None:
        self.disarm()
        self._watcher = self._loop.timer(max(at_s - time.perf_counter(), 0.0))
        self._watcher.start(self._callback)

    def sleep(self, until_s: float) -> None:
        _sleep(max(until_s - time.perf_counter(), 0.0))

    def disarm(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def close(self) -> None:
        self.disarm()


def check(awake: bool) -> None:
    """Raises TimerError when a timer is to stay ``awake`` and this system has none that can."""
    if awake and sys.platform != "linux":
        raise TimerError("--stay-awake yes: only Linux has a timer that does without sleep; leave it out")


def make(loop: Any, callback: Callable[[], None], awake: bool = False) -> Timer:
    """The finest timer that this machine has. Raises TimerError, see check."""
    check(awake)
    return TimerFd(loop, callback, awake) if sys.platform == "linux" else LoopTimer(loop, callback)
