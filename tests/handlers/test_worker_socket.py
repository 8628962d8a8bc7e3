"""Reading ahead on the worker's socket: the bytes are the same however they arrive."""

from __future__ import annotations

import importlib
import socket
import struct
import time

import pytest
import worker_socket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from worker_socket import Reader


def nothing() -> None:
    """What a worker rehearses here."""


class Connection:
    """Hands out packets as they were sent, then says that the frontend has gone."""

    def __init__(self, packets):
        self.packets = list(packets)
        self.calls = 0

    def recv(self, size, flags=0):
        self.calls += 1
        return self.packets.pop(0) if self.packets else b""


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.lists(st.integers(0, 30)))
def test_the_bytes_come_in_order_whatever_the_packets(packets, lengths):
    whole = b"".join(packets)
    reader, connection, at = Reader(nothing), Connection(packets), 0
    for length in lengths:
        if at + length > len(whole):
            with pytest.raises(SystemExit) as ended:
                reader(connection, length)
            assert ended.value.code == 0
            return
        assert reader(connection, length) == whole[at : at + length]
        at += length


def test_a_request_in_one_packet_takes_one_call():
    connection = Connection([b"I" + b"abcd" * 20])
    reader = Reader(nothing)
    assert reader(connection, 1) == b"I"
    assert [reader(connection, 4) for _ in range(20)] == [b"abcd"] * 20
    assert connection.calls == 1


def with_length(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data


def a_list(items: list[bytes]) -> bytes:
    return b"".join(items) + b"\xff\xff\xff\xff"


values = st.binary(max_size=40).map(with_length)
names = st.text(max_size=12).map(lambda text: with_length(text.encode()))
headers = st.builds(lambda name, value: name + value, names, values)
parameters = st.builds(lambda name, kind, value: name + kind + value, names, names, values)
requests = st.builds(
    lambda identity, heads, fields: identity + a_list(heads) + a_list(fields),
    values,
    st.lists(headers, max_size=3),
    st.lists(parameters, max_size=3),
)
messages = st.lists(requests, max_size=2).map(a_list)


@pytest.fixture
def protocol(monkeypatch):
    """TorchServe's module, whose functions come back after the test."""
    found = importlib.import_module(worker_socket.PROTOCOL)
    for name in (worker_socket.BUFFER, worker_socket.MESSAGE):
        monkeypatch.setattr(found, name, getattr(found, name))
    monkeypatch.setenv("TS_DECODE_INPUT_REQUEST", "false")
    return found


class Exact:
    """Gives what is asked for and no more, as TorchServe's own functions need it."""

    def __init__(self, data):
        self.data = data

    def recv(self, size, flags=0):
        data, self.data = self.data[:size], self.data[size:]
        return data


@given(st.lists(messages, min_size=1, max_size=3), st.lists(st.integers(1, 60), max_size=20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_torchserve_reads_the_same_messages_through_it_whatever_the_packets(protocol, monkeypatch, sent, lengths):
    whole = b"".join(b"I" + message for message in sent)
    exact, pieces = Exact(whole), Exact(whole)
    packets = [packet for packet in map(pieces.recv, [*lengths, len(whole)]) if packet]
    expected = [protocol.retrieve_msg(exact) for _ in sent]
    with monkeypatch.context() as patched:
        for name in (worker_socket.BUFFER, worker_socket.MESSAGE):
            patched.setattr(protocol, name, getattr(protocol, name))
        worker_socket.read_ahead(nothing)
        connection = Connection(packets)
        assert [protocol.retrieve_msg(connection) for _ in sent] == expected


def test_a_message_that_is_all_there_is_not_read_in_pieces(protocol, monkeypatch):
    monkeypatch.setattr(protocol, worker_socket.MESSAGE, lambda conn: pytest.fail("read in pieces"))
    worker_socket.read_ahead(nothing)
    request = with_length(b"id") + a_list([]) + a_list([with_length(b"body") + with_length(b"") + with_length(b"hello")])
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"I" + a_list([request]))
        command, found = protocol.retrieve_msg(ours)
    fields = [{"name": "body", "contentType": "", "value": b"hello"}]
    assert (command, found) == (b"I", [{"requestId": b"id", "headers": [], "parameters": fields}])


def test_what_comes_late_is_slept_for_and_what_comes_soon_is_not(monkeypatch):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        waits = []

        class Watched:
            def recv(self, size, flags=0):
                waits.append(flags == 0)
                if not flags:
                    theirs.sendall(b"late")
                return ours.recv(size, flags)

        assert worker_socket.received(Watched(), time.perf_counter() + 0.001) == b"late"
        assert waits[-1]
        assert not any(waits[:-1])
        monkeypatch.setattr(worker_socket.os, "sched_yield", lambda: theirs.sendall(b"soon"))
        waits.clear()
        assert worker_socket.received(Watched(), time.perf_counter() + 60.0) == b"soon"
        assert waits == [False, False]


@pytest.mark.parametrize(("came_after_s", "then_s"), [(0.0009, worker_socket.SOON_S), (0.0011, worker_socket.AWAKE_S)])
def test_a_worker_looks_for_longer_where_the_request_before_came_soon(came_after_s, then_s, monkeypatch):
    now_s, looked_s = 5.0, []
    monkeypatch.setattr(worker_socket.time, "perf_counter", lambda: now_s)

    def received(conn, until_s):
        nonlocal now_s
        looked_s.append(until_s - now_s)
        now_s += came_after_s
        return b"x"

    monkeypatch.setattr(worker_socket, "arrived", lambda conn: None)
    monkeypatch.setattr(worker_socket, "received", received)
    reader = Reader(nothing)
    assert reader(None, 1) + reader(None, 1) == b"xx"
    assert looked_s == pytest.approx([worker_socket.AWAKE_S, then_s])


def test_a_worker_rehearses_once_where_it_has_to_wait_and_never_where_it_has_not():
    rehearsed = []
    ours, theirs = socket.socketpair()
    with ours, theirs:

        def rehearse():
            rehearsed.append(len(rehearsed))
            theirs.sendall(b"b")

        reader = Reader(rehearse)
        theirs.sendall(b"a")
        assert reader(ours, 1) == b"a"
        assert rehearsed == []
        assert reader(ours, 1) == b"b"
        assert rehearsed == [0]


def test_outside_torchserve_nothing_happens(monkeypatch):
    monkeypatch.setattr(worker_socket, "PROTOCOL", "ts.not_loaded")
    worker_socket.read_ahead(nothing)
