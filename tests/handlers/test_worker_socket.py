"""Reading ahead on the worker's socket: the bytes are the same however they arrive."""

from __future__ import annotations

import importlib
import socket

import pytest
import worker_socket
from hypothesis import given
from hypothesis import strategies as st
from worker_socket import Reader


class Connection:
    """Hands out packets as they were sent, then says that the frontend has gone."""

    def __init__(self, packets):
        self.packets = list(packets)
        self.calls = 0

    def recv(self, size):
        self.calls += 1
        return self.packets.pop(0) if self.packets else b""


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1), st.lists(st.integers(0, 30)))
def test_the_bytes_come_in_order_whatever_the_packets(packets, lengths):
    whole = b"".join(packets)
    reader, connection, at = Reader(), Connection(packets), 0
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
    reader = Reader()
    assert reader(connection, 1) == b"I"
    assert [reader(connection, 4) for _ in range(20)] == [b"abcd"] * 20
    assert connection.calls == 1


def test_torchserve_reads_the_same_message_through_it(monkeypatch):
    protocol = importlib.import_module(worker_socket.PROTOCOL)
    monkeypatch.setattr(protocol, worker_socket.FUNCTION, getattr(protocol, worker_socket.FUNCTION))
    message = b"I" + b"\x00\x00\x00\x02id" + b"\xff\xff\xff\xff"  # a request "id", no headers
    message += b"\x00\x00\x00\x04body" + b"\x00\x00\x00\x00" + b"\x00\x00\x00\x05hello" + b"\xff\xff\xff\xff" * 2

    def read():
        ours, theirs = socket.socketpair()
        with ours, theirs:
            theirs.sendall(message)
            return protocol.retrieve_msg(ours)

    expected = read()
    worker_socket.read_ahead()
    assert isinstance(getattr(protocol, worker_socket.FUNCTION), Reader)
    assert read() == expected


def test_outside_torchserve_nothing_happens(monkeypatch):
    monkeypatch.setattr(worker_socket, "PROTOCOL", "ts.not_loaded")
    worker_socket.read_ahead()
