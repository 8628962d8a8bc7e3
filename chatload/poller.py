"""Poller: the sockets and the timer of the hot path, on an epoll of their own inside gevent's event loop.

gevent's loop costs several microseconds a wake-up: it looks for forks, runs its own watchers and calls back through C. The
hot path has two wake-ups a request. So its descriptors live on one epoll(7), which gevent watches as a single descriptor;
once woken, events are handled here for a slice of time before the loop, and Locust's greenlets with it, gets its turn again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from gevent import monkey

READ, WRITE = 1, 2
_IN, _OUT = 1, 4  # EPOLLIN, EPOLLOUT
_SLICE_S = 0.002
_WAIT_S = 0.001  # epoll_wait's own unit: the shortest wait that is not a spin


class Poller:
    """Watches descriptors as gevent's loop does (``io``), but cheaper. To be closed."""

    def __init__(self, loop: Any) -> None:
        # gevent hides epoll from patched programs, since it blocks; here it never blocks for longer than a slice.
        self._poll = monkey.get_original("select", "epoll")()
        self._watches: dict[int, dict[int, Callable[[], None]]] = {}
        self._fresh: set[int] = set()
        self._outer = loop.io(self._poll.fileno(), READ)
        self._outer.start(self._run)

    def io(self, fd: int, event: int) -> Watch:
        """A watch, not started yet, for READ or WRITE on a descriptor."""
        return Watch(self, fd, event)

    def close(self) -> None:
        self._outer.stop()
        self._outer.close()
        self._poll.close()
        self._watches.clear()

    def _run(self) -> None:
        """Handles events until there are none for a moment, or the slice is used up."""
        until_s = time.perf_counter() + _SLICE_S
        poll, watches = self._poll.poll, self._watches
        events = poll(0)
        while events:
            self._fresh.clear()
            for fd, happened in events:
                # A descriptor closed and opened again by a callback before this one: the event was its predecessor's.
                if fd in self._fresh:
                    continue
                callbacks = watches.get(fd, {})
                # An error or hang-up is told to whoever waits: reading or writing then says what it is.
                reads, writes = callbacks.get(READ), callbacks.get(WRITE)
                if reads is not None and happened & ~_OUT:
                    reads()
                if writes is not None and happened & ~_IN and callbacks.get(WRITE) is writes:
                    writes()
            if self._poll.closed or time.perf_counter() > until_s:
                return
            events = poll(_WAIT_S)

    def _start(self, fd: int, event: int, callback: Callable[[], None]) -> None:
        callbacks = self._watches.setdefault(fd, {})
        known = bool(callbacks)
        callbacks[event] = callback
        if known:
            self._poll.modify(fd, _mask(callbacks))
        else:
            self._fresh.add(fd)
            self._poll.register(fd, _mask(callbacks))

    def _stop(self, fd: int, event: int) -> None:
        callbacks = self._watches.get(fd, {})
        if callbacks.pop(event, None) is None:
            return
        if callbacks:
            self._poll.modify(fd, _mask(callbacks))
        else:
            del self._watches[fd]
            self._poll.unregister(fd)


class Watch:
    """One watch of a poller; stopping or closing it twice is no mistake."""

    def __init__(self, poller: Poller, fd: int, event: int) -> None:
        self._poller = poller
        self._fd = fd
        self._event = event

    def start(self, callback: Callable[[], None]) -> None:
        self._poller._start(self._fd, self._event, callback)

    def stop(self) -> None:
        self._poller._stop(self._fd, self._event)

    def close(self) -> None:
        self.stop()


def _mask(callbacks: dict[int, Callable[[], None]]) -> int:
    return (_IN if READ in callbacks else 0) | (_OUT if WRITE in callbacks else 0)
