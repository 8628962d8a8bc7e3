"""What TorchServe's worker says of each request: two lines of log, which its front end reads and parses, and a metric."""

from __future__ import annotations

import logging
from typing import Any


def quiet(ctx: Any) -> None:
    """Keep a worker from saying what nobody reads: INFO lines, and its time metrics, which are such lines."""
    logging.getLogger().setLevel(logging.WARNING)
    # It would look up the host's name and write each one out before its log drops it.
    ctx.metrics.add_time = lambda *_, **__: None
