"""Locust's timers: they end a run whose generators did not, and no other.

Locust counts a run's time from its command line or from the request of its web UI. A generator's clock starts later: the
server is asked first, workers are told, and sessions are planned, which takes 0.4 s for each 1,000 utterances a second of
them. So a run is ended here when its generators have had their time, and Locust's timers are held back by far. They cannot
be set anew when the plan is made: the one of the command line is out of reach once it runs.
"""

from __future__ import annotations

import logging
from argparse import Namespace
from typing import Any

import gevent

LATER_S = 60.0  # more than the plan of 100,000 utterances a second in sessions takes


def hold_back(options: Namespace) -> None:
    """Headless. What was planned travels to the workers with the other options, as ``planned_run_time_s``."""
    if options.headless and options.run_time:
        options.planned_run_time_s = options.run_time
        options.run_time += LATER_S
        # It would name the sum.
        logging.getLogger("locust.main").addFilter(lambda record: "Run time limit set" not in record.getMessage())


def hold_back_web(web_ui: Any, run_time_s: float) -> None:
    """In the web UI, which has started its timer for the run that starts now. Nothing public reaches that timer."""
    if web_ui is not None and web_ui._run_time_greenlet is not None:
        web_ui._cancel_run_time_timer()
        web_ui._run_time_greenlet = gevent.spawn_later(run_time_s + LATER_S, web_ui._stop_runners)


def cancel_web(web_ui: Any) -> None:
    """The run has come to its end: the timer must not end what is started next."""
    if web_ui is not None:
        web_ui._cancel_run_time_timer()
