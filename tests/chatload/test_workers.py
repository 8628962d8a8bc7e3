"""Workers: who is there, and whose end a master waits for."""

from __future__ import annotations

from types import SimpleNamespace

import gevent

from chatload import workers

HANGS_S = 10.0


class Master:
    """Stands in for Locust's master of three workers, of which ``c`` is lost; keeps what it says to them."""

    def __init__(self) -> None:
        states = {"c": "missing", "b": "running", "a": "running"}
        self.clients = {name: SimpleNamespace(id=name, state=state) for name, state in states.items()}
        self.said: list[str] = []

    def get_worker_index(self, client_id: str) -> int:
        return {"a": 0, "b": 1, "c": 2}[client_id]

    def send_message(self, msg_type: str, data: object = None) -> None:
        self.said.append(msg_type)


def test_all_that_the_master_knows_take_part():
    found = workers.Workers(Master(), "missing")
    assert found.names == {"a", "b", "c"}
    assert found.numbers == [0, 1, 2]
    assert found.present({"b", "c", "gone"}) == {"b"}


def test_the_end_of_those_that_are_not_lost_is_waited_for():
    master, run = Master(), SimpleNamespace(workers={"a", "b", "c"}, ended={"a"})
    gevent.spawn_later(0.1, run.ended.add, "b")
    with gevent.Timeout(HANGS_S):
        workers.Workers(master, "missing").end(run, 2 * HANGS_S)
    assert run.ended == {"a", "b"}
    assert master.said == [workers.STOP]


def test_a_worker_that_never_ends_is_waited_for_no_longer_than_asked():
    run = SimpleNamespace(workers={"a", "b"}, ended={"a"})
    with gevent.Timeout(HANGS_S):
        workers.Workers(Master(), "missing").end(run, 0.1)
    assert run.ended == {"a"}
