"""Less work in TorchServe's worker: it reads a request in about 60 pieces, this reads what has arrived at once.

Under load the next request comes a fraction of a millisecond after an answer. Falling asleep in between and being woken
would take longer, so a worker looks for it a while first, and lets whoever else wants its core go ahead meanwhile. It looks
for longer where the one before came soon. And it rehearses meanwhile: a model's weights have driven the code of an answer
out of the caches.

TorchServe sends a worker one request and waits for its answer before the next, so reading ahead takes nothing from anybody.
It replaces functions of TorchServe 0.12.0 (ts/protocol/otf_message_handler.py), its last release: the project is archived,
so they will not change under it.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from typing import Any, Callable

PROTOCOL = "ts.protocol.otf_message_handler"
BUFFER = "_retrieve_buffer"
MESSAGE = "_retrieve_inference_msg"
RECEIVE_BYTES = 65_536
AWAKE_S = 0.0003  # after an answer; at 100 requests/s, 3 % of a core that has nothing else to do
SOON_S = 0.001  # a worker under load is given its next request within this, on slow machines too
LENGTH = struct.Struct("!i")

Message = list[dict[str, Any]]


class Reader:
    """Takes the place of _retrieve_buffer(conn, length): the next ``length`` bytes of a connection.

    ``rehearse`` is called when they are not there yet.
    """

    def __init__(self, rehearse: Callable[[], object]) -> None:
        self.rehearse = rehearse
        self.data = b""
        self.at = 0
        self.awake_s = AWAKE_S

    def __call__(self, conn: Any, length: int) -> bytes:
        """Return the next bytes. Ends the process where the frontend has gone, as TorchServe does."""
        if len(self.data) - self.at < length:
            self.fill(conn, length)
        start, self.at = self.at, self.at + length
        return self.data[start : self.at]

    def fill(self, conn: Any, length: int) -> None:
        """Receive until ``length`` bytes are at hand."""
        found = bytearray(self.data[self.at :])
        while len(found) < length:
            packet = self.receive(conn)
            if not packet:
                sys.exit(0)
            found += packet
        self.data, self.at = bytes(found), 0

    def receive(self, conn: Any) -> bytes:
        """Return what arrives next; nothing where the frontend has gone."""
        began_s = time.perf_counter()
        packet = arrived(conn)
        if packet is None:
            os.sched_yield()
            self.rehearse()
            packet = received(conn, began_s + self.awake_s)
        self.awake_s = SOON_S if time.perf_counter() - began_s < SOON_S else AWAKE_S
        return packet


def received(conn: Any, until_s: float) -> bytes:
    """Return what arrives next, looked for until a moment, and then slept for."""
    while time.perf_counter() < until_s:
        packet = arrived(conn)
        if packet is not None:
            return packet
        os.sched_yield()
    return conn.recv(RECEIVE_BYTES)


def arrived(conn: Any) -> bytes | None:
    """Return what has arrived, if anything."""
    try:
        return conn.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None


class MessageReader:
    """Takes the place of _retrieve_inference_msg(conn): the requests of a message, in one go where it is all at hand.

    ``by_pieces`` is TorchServe's own function, for a message that is not.
    """

    def __init__(self, reader: Reader, by_pieces: Callable[[Any], Message]) -> None:
        self.reader = reader
        self.by_pieces = by_pieces

    def __call__(self, conn: Any) -> Message:
        """Return the requests as TorchServe does, their values as bytes: nothing is decoded (decode_input_request)."""
        try:
            message, self.reader.at = message_in(self.reader.data, self.reader.at)
            return message
        except struct.error:  # its end is still on the way
            return self.by_pieces(conn)


def message_in(data: bytes, at: int) -> tuple[Message, int]:
    """Return the requests of the message that begins at ``at``, and where it ends. Raises struct.error: it is not whole.

    A value that is cut short cannot pass unseen, since a length stands behind each.
    """
    message = []
    while not list_ends(data, at):
        identity, at = value_in(data, at)
        headers, parameters = [], []
        while not list_ends(data, at):
            name, at = value_in(data, at)
            value, at = value_in(data, at)
            headers.append({"name": name, "value": value})
        at += LENGTH.size
        while not list_ends(data, at):
            name, at = value_in(data, at)
            kind, at = value_in(data, at)
            value, at = value_in(data, at)
            parameters.append({"name": name.decode(), "contentType": kind.decode(), "value": value})
        at += LENGTH.size
        message.append({"requestId": identity, "headers": headers, "parameters": parameters})
    return message, at + LENGTH.size


def list_ends(data: bytes, at: int) -> bool:
    """Tell whether a list ends at ``at``: the length -1 stands there."""
    return bool(LENGTH.unpack_from(data, at)[0] == -1)


def value_in(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the bytes behind the length at ``at``, and where they end."""
    start = at + LENGTH.size
    end = start + LENGTH.unpack_from(data, at)[0]
    return data[start:end], end


def read_ahead(rehearse: Callable[[], object]) -> None:
    """Let this worker read ahead, and rehearse while it waits; nothing happens outside one, where TorchServe's protocol is
    not loaded.
    """
    protocol = sys.modules.get(PROTOCOL)
    if hasattr(protocol, BUFFER) and hasattr(protocol, MESSAGE):
        reader = Reader(rehearse)
        setattr(protocol, BUFFER, reader)
        setattr(protocol, MESSAGE, MessageReader(reader, getattr(protocol, MESSAGE)))
