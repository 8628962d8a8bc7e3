"""The lock of a store: one build at a time, so that none trains what another is training, or writes into its folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model.problem import UserProblem


@contextmanager
def only_build(store: Path) -> Iterator[None]:
    """Hold a store for oneself; wait, with one printed line, while another build holds it.

    The kernel lets go of the lock when its holder ends, however that ends.
    """
    try:
        store.mkdir(parents=True, exist_ok=True)
        file = (store / ".lock").open("w")
    except OSError as error:
        raise UserProblem(f"--store {store}: cannot be used: {error.strerror}; name a folder to write to") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"wait     another build works in {store}; this one goes on when it ends", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
