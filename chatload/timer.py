"""Timer: wakes the event loop at an absolute moment.

gevent's own timers are rounded to 1 ms by libev (epoll_wait takes whole milliseconds). A Linux timerfd watched by the same
loop is not: timerfd_create(2). Where there is no timerfd, the loop's timer serves, and the run's header says so.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol

_READ = 1
_CLOCK_MONOTONIC = 1
_TFD_TIMER_ABSTIME = 1
_NANOSECONDS = 1_000_000_000


class Timer(Protocol):
    """Calls back once at an armed moment of time.perf_counter(); arming again replaces the moment."""

    name: str

    def arm(self, at_s: float) -> None: ...

    def disarm(self) -> None: ...

    def close(self) -> None: ...


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class _Itimerspec(ctypes.Structure):
    _fields_ = [("interval", _Timespec), ("value", _Timespec)]


class TimerFd:
    """A timerfd on CLOCK_MONOTONIC, which is time.perf_counter()'s clock on Linux."""

    name = "timerfd"

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._fd = libc.timerfd_create(_CLOCK_MONOTONIC, flags)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._spec = _Itimerspec()
        self._value = self._spec.value
        self._address = ctypes.addressof(self._spec)
        self._watcher = loop.io(self._fd, _READ)
        # No read of the descriptor is needed: arming again clears its expiry count.
        self._watcher.start(callback)

    def arm(self, at_s: float) -> None:
        nanoseconds = max(int(at_s * _NANOSECONDS), 1)  # zero would disarm
        self._value.seconds, self._value.nanoseconds = divmod(nanoseconds, _NANOSECONDS)
        self._settime(self._fd, _TFD_TIMER_ABSTIME, self._address, None)

    def disarm(self) -> None:
        self._value.seconds = self._value.nanoseconds = 0
        self._settime(self._fd, 0, self._address, None)

    def close(self) -> None:
        self._watcher.stop()
        self._watcher.close()
        os.close(self._fd)


class LoopTimer:
    """The event loop's own timer: portable, and as coarse as the loop."""

    name = "event loop (1 ms)"

    def __init__(self, loop: Any, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback
        self._watcher: Any = None

    def arm(self, at_s: float) -> None:
        self.disarm()
        self._watcher = self._loop.timer(max(at_s - time.perf_counter(), 0.0))
        self._watcher.start(self._callback)

    def disarm(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def close(self) -> None:
        self.disarm()


def make(loop: Any, callback: Callable[[], None]) -> Timer:
    """The finest timer that this machine has."""
    return TimerFd(loop, callback) if sys.platform == "linux" else LoopTimer(loop, callback)
