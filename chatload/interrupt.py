"""Interrupt: Ctrl-C ends the main greenlet's wait, whichever greenlet runs when it comes.

Python raises KeyboardInterrupt in the code that runs at that moment. That may be the dispatcher, between an arrival's turn
and its request: the arrival would be lost, and gevent would print a traceback before it told the main greenlet.
"""

from __future__ import annotations

import signal
from types import FrameType

import gevent


def raise_in_main_greenlet() -> None:
    """From now on an interrupt is raised in the main greenlet, unless somebody else has taken charge of the signal."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


def _on_interrupt(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one acts at once, whatever holds up the first
    main = gevent.get_hub().parent
    if gevent.getcurrent() is main:
        raise KeyboardInterrupt
    gevent.kill(main, KeyboardInterrupt)
