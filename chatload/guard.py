"""Guard: Locust logs what a listener raises and goes on; a run whose engine broke must not look like a good one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from chatload import admission

logger = logging.getLogger("chatload")


def guarded(listener: Callable[..., None], failed: Callable[[str, bool], None]) -> Callable[..., None]:
    """``listener``; where it raises, the log says so and ``failed`` gets (why, whether it is a user's mistake)."""

    def called(*arguments: Any, **keywords: Any) -> None:
        try:
            listener(*arguments, **keywords)
        except admission.MISTAKES as error:
            logger.error(str(error))
            failed(str(error), True)
        except Exception:
            logger.exception("chatload failed; the run is invalid")
            failed("chatload failed; its log says why", False)

    return called
