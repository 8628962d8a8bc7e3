"""Client: one utterance, one POST, one sample. Keep-alive HTTP/1.1 without a greenlet or a retry.

Connections are driven by callbacks of gevent's event loop: a greenlet switch a request would cost more than the request.
A connection carries one request at a time (TorchServe has one slot a connection: no pipelining); the one used last is
used next, so that the pool is as small as the load allows. Nothing here ever blocks or waits for another request.

An answer is done when its last byte has come to this machine, as the kernel tells, and not when this process got to read it
(docs/decisions/0316-answers-carry-the-kernels-time.md).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httptools
from gevent import monkey

from chatload import answer, samples

_READ, _WRITE = 1, 2
_RECEIVE_BYTES = 16_384
# socket(7), SO_TIMESTAMPNS: Linux tells with what is received when it came, by CLOCK_REALTIME. Python has no name for it.
_STAMPS = 35
_STAMP = struct.Struct("@ll")
_STAMP_BYTES = socket.CMSG_SPACE(_STAMP.size)
_NANOSECONDS = 1_000_000_000
# The real socket: gevent's cooperative one would switch greenlets where a callback must not.
_Socket: type[socket.socket] = monkey.get_original("socket", "socket")


@dataclass(frozen=True)
class Target:
    """Where requests go: a resolved address, and TLS settings for https (None: http)."""

    family: int
    address: tuple
    host: str
    tls: ssl.SSLContext | None


class Due(Protocol):
    """What is sent: arrivals.Arrival, or turns.Call. It goes to ``record`` as it came."""

    @property
    def intended_s(self) -> float: ...

    @property
    def utterance(self) -> int: ...

    @property
    def variant(self) -> int: ...


_CONNECTING, _HANDSHAKE, _IDLE, _BUSY, _CLOSED = range(5)


class Client:
    """Sends requests and writes a sample for each, whatever becomes of it.

    ``request`` gives the bytes of the whole request for an utterance's index and variant. ``judge`` takes an utterance's
    index and the predicted intent (None: the answer had none) and returns (outcome code, code of the intent). ``record``
    takes what was sent and what came of it, see Record.sample.
    """

    def __init__(
        self,
        loop: Any,
        target: Target,
        request: Callable[[int, int], bytes],
        judge: Callable[[int, str | None], tuple[int, int]],
        record: Callable[..., None],
        clock: Callable[[], float],
        epoch_s: float,
        timeout_s: float,
        max_in_flight: int,
    ) -> None:
        self.loop = loop
        self.target = target
        self.request = request
        self.judge = judge
        self.record = record
        self.clock = clock
        self.epoch_s = epoch_s
        self.timeout_s = timeout_s
        self.max_in_flight = max_in_flight
        self.done: Callable[[Any], None] | None = None  # told of every arrival that has its sample
        self.pause: Callable[[], None] = lambda: None  # called when something that came has been read
        self.stamped = False  # whether the kernel told when the last answer came
        self.idle: list[_Connection] = []
        self.unsent: set[_Connection] = set()  # those whose request is not wholly out yet
        self._deadlines: dict[_Connection, float] = {}  # of the requests that are out, in the order of their sending

    @property
    def in_flight(self) -> int:
        """Requests that are out."""
        return len(self._deadlines)

    def can_wait(self) -> bool:
        """Whether the event loop can for a while, where nobody needs the answers: it will still be known when they came, and
        no request has yet to go out, which takes the loop as well."""
        return self.stamped and not self.unsent

    def send(self, arrival: Due) -> None:
        """Sends the request of an arrival now. Beyond ``max_in_flight`` the arrival is dropped, and recorded so."""
        now = self.clock() - self.epoch_s
        if len(self._deadlines) >= self.max_in_flight:
            self.record_unsent(arrival, samples.DROPPED)
            return
        connection = self.idle.pop() if self.idle else _Connection(self)
        self._deadlines[connection] = now + self.timeout_s
        connection.start(arrival, now)

    def over(self, connection: _Connection) -> None:
        """The request on that connection is no longer out, and has its sample."""
        del self._deadlines[connection]
        if self.done is not None:
            self.done(connection.arrival)

    def expire(self) -> None:
        """Ends the requests that have waited longer than the timeout. To be called every now and then."""
        now = self.clock() - self.epoch_s
        late = itertools.takewhile(lambda out: self._deadlines[out] <= now, self._deadlines)
        for connection in list(late):
            connection.fail(samples.TIMEOUT)

    def abandon(self) -> None:
        """Ends all requests still in flight as unfinished, and closes every connection."""
        for connection in list(self._deadlines):
            connection.fail(samples.UNFINISHED)
        for connection in self.idle:
            connection.close()
        self.idle.clear()

    def oldest_s(self) -> float:
        """The intended time of the oldest request that is still out; infinite when none is."""
        # Turns that were held are sent later than others that were intended after them.
        return min((connection.arrival.intended_s for connection in self._deadlines), default=math.inf)

    def record_unsent(self, arrival: Due, outcome: int) -> None:
        """Appends the sample of an arrival that was never sent."""
        never = samples.NEVER
        self.record(arrival, never, never, samples.NOT_PREDICTED, outcome, never, never, 0, 0)
        if self.done is not None:
            self.done(arrival)


class _Connection:
    """One connection to the target; at most one request in flight on it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.state = _CLOSED
        self._parser: Any = None
        self._tls: _Tls | None = None
        self._unsent: bytes | memoryview = b""
        self._socket: Any = None
        self._age_s = 0.0  # how long what was received last had been there

    # --- a request ---------------------------------------------------------------------------------------------

    def start(self, arrival: Due, sent_s: float) -> None:
        self.arrival = arrival
        self.sent_s = sent_s
        self._timing = b""
        self._body = b""
        if self.state == _IDLE:
            self.state = _BUSY
            self._write(self.client.request(arrival.utterance, arrival.variant))
        else:
            self._connect()

    def _finish(self, status: int) -> None:
        """The answer is complete."""
        client = self.client
        done_s = client.clock() - client.epoch_s - self._age_s
        if done_s < self.sent_s:  # by an error of the clocks
            done_s = self.sent_s
        tokenize_ms, infer_ms = answer.server_timing(self._timing)
        outcome, predicted, tokens = status, samples.NOT_PREDICTED, 0
        if status == 200:
            intent, tokens = answer.intent_and_tokens(self._body)
            outcome, predicted = client.judge(self.arrival.utterance, intent)
        size = len(self._body)
        client.record(self.arrival, self.sent_s, done_s, predicted, outcome, tokenize_ms, infer_ms, size, tokens)
        client.over(self)
        if self._parser.should_keep_alive():
            self.state = _IDLE
            client.idle.append(self)
        else:
            self.close()

    def fail(self, outcome: int) -> None:
        """The request ends without an answer, and the connection with it."""
        client = self.client
        done_s = client.clock() - client.epoch_s if outcome != samples.UNFINISHED else samples.NEVER
        never = samples.NEVER
        self.close()
        client.record(self.arrival, self.sent_s, done_s, samples.NOT_PREDICTED, outcome, never, never, 0, 0)
        client.over(self)

    # --- the socket --------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        target = self.client.target
        self.state = _CONNECTING
        self.client.unsent.add(self)
        try:
            self._socket = _Socket(target.family, socket.SOCK_STREAM)
        except OSError:  # out of file descriptors
            self._socket = None
            self.fail(samples.CONNECT)
            return
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sys.platform == "linux":
            with contextlib.suppress(OSError):  # a sandbox may not know it
                self._socket.setsockopt(socket.SOL_SOCKET, _STAMPS, 1)
        self._receive = self._socket.recvmsg
        self._parser = httptools.HttpResponseParser(self)
        fd = self._socket.fileno()
        self._reads = self.client.loop.io(fd, _READ)
        self._writes = self.client.loop.io(fd, _WRITE)
        code = self._socket.connect_ex(target.address)
        if code in (0, errno.EINPROGRESS):
            self._writes.start(self._connected)
        else:
            self.fail(samples.CONNECT)

    def _connected(self) -> None:
        self._writes.stop()
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.fail(samples.CONNECT)
            return
        tls = self.client.target.tls
        if tls is None:
            self._reads.start(self._readable)
            self._opened()
        else:
            self._tls = _Tls(tls, self.client.target.host)
            self.state = _HANDSHAKE
            self._reads.start(self._readable_tls)
            self._shake_hands()

    def _opened(self) -> None:
        """The connection is there: its first request goes out."""
        self.state = _BUSY
        if not self._unsent:  # of the handshake
            self.client.unsent.discard(self)
        self._write(self.client.request(self.arrival.utterance, self.arrival.variant))

    def _write(self, data: bytes | memoryview) -> None:
        """Hands ``data`` to the kernel; what it does not take now goes out when the socket is writable."""
        if self._tls is not None and self.state == _BUSY and data:
            data = self._tls.encrypt(data)
        if self._unsent:
            self._unsent = bytes(self._unsent) + bytes(data)
        else:
            self._hand_over(data)

    def _writable(self) -> None:
        self._writes.stop()
        data, self._unsent = self._unsent, b""
        if self.state == _BUSY:
            self.client.unsent.discard(self)
        self._hand_over(data)

    def _hand_over(self, data: bytes | memoryview) -> None:
        try:
            taken = self._socket.send(data)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.fail(samples.RESET)
            return
        if taken < len(data):
            self._unsent = memoryview(data)[taken:]
            self.client.unsent.add(self)
            self._writes.start(self._writable)

    def _received(self) -> bytes | None:
        """What has come, empty at the end of the connection; None when nothing has."""
        try:
            data, told, _, _ = self._receive(_RECEIVE_BYTES, _STAMP_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if data:  # an end has no time
            self.client.stamped = bool(told)
            self._age_s = _age_s(told[0][2]) if told else 0.0
        return data

    def _readable(self) -> None:
        data = self._received()
        if data:
            self._feed(data)
        elif data is not None:
            self._ended()

    def _feed(self, data: bytes) -> None:
        if self.state != _BUSY:  # nobody asked: the server talks out of turn
            self._ended()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._ended()
        self.client.pause()

    def _ended(self) -> None:
        """The connection is gone: with a request in flight that is a failure, without one it is nobody's loss."""
        if self.state == _IDLE:
            self.client.idle.remove(self)
            self.close()
        elif self.state == _HANDSHAKE:
            self.fail(samples.CONNECT)
        elif self.state == _BUSY:
            self.fail(samples.RESET)

    def close(self) -> None:
        self.state = _CLOSED
        self.client.unsent.discard(self)
        if self._socket is None:
            return
        for watcher in (self._reads, self._writes):
            watcher.stop()
            watcher.close()
        self._socket.close()
        self._socket = None
        self._tls = None
        self._unsent = b""

    # --- TLS ---------------------------------------------------------------------------------------------------

    def _shake_hands(self) -> None:
        assert self._tls is not None
        try:
            done = self._tls.handshake()
        except ssl.SSLError:
            self.fail(samples.CONNECT)
            return
        outgoing = self._tls.outgoing()
        if outgoing:
            self._write(outgoing)
        if done and self.state == _HANDSHAKE:
            self._opened()

    def _readable_tls(self) -> None:
        assert self._tls is not None
        data = self._received()
        if data is None:
            return
        if not data:
            self._ended()
        elif self.state == _HANDSHAKE:
            self._tls.incoming(data)
            self._shake_hands()
        else:
            self._feed_tls(data)

    def _feed_tls(self, data: bytes) -> None:
        assert self._tls is not None
        self._tls.incoming(data)
        try:
            plain = self._tls.decrypt()
        except ssl.SSLError:
            self._ended()
            return
        if plain:
            self._feed(plain)

    # --- what the parser says ----------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == 13 and name.lower() == b"server-timing":
            self._timing = value

    def on_body(self, body: bytes) -> None:
        self._body = self._body + body if self._body else body

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self.state == _BUSY:
            self._finish(status)


class _Tls:
    """TLS over memory buffers, so that it never blocks (docs.python.org/3/library/ssl.html#memory-bio-support)."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._in, self._out, server_hostname=host)

    def handshake(self) -> bool:
        """One step of the handshake; True when it is done. Raises ssl.SSLError when it fails."""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def incoming(self, data: bytes) -> None:
        self._in.write(data)

    def outgoing(self) -> bytes:
        return self._out.read()

    def encrypt(self, data: bytes | memoryview) -> bytes:
        self._object.write(data)
        return self._out.read()

    def decrypt(self) -> bytes:
        """All plain bytes at hand; empty when a record is not complete yet."""
        plain = []
        while True:
            try:
                piece = self._object.read(_RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                break
            if not piece:
                break
            plain.append(piece)
        return b"".join(plain)


def _age_s(stamp: bytes) -> float:
    """How long ago a moment was that the kernel told; never negative, though somebody may have set the clock since."""
    seconds, nanoseconds = _STAMP.unpack(stamp)
    age_s = (time.time_ns() - seconds * _NANOSECONDS - nanoseconds) / _NANOSECONDS
    return age_s if age_s > 0 else 0.0


def file_descriptor_limit() -> int:
    """How many connections this process may hold, after raising its soft limit to the hard one."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard > 0 else os.sysconf("SC_OPEN_MAX")
