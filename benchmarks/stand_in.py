"""Stand-in servers of known latency, which measure the generator itself. They answer the contract and nothing more.

    python -m benchmarks.stand_in null  --port 8090     answers at once
    python -m benchmarks.stand_in stall --port 8090     answers at once, but holds all answers 0.5 s in every 10 s
    python -m benchmarks.stand_in mm1   --port 8090     one server, exponential service times: theory gives every percentile
    python -m benchmarks.stand_in md1   --port 8090     the same with constant service times

Bound to loopback. One process, one core: pin it to another core than the generator.
"""

from __future__ import annotations

import argparse
import heapq
import random
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import httptools

_BODY = (
    b'{"intent":"out_of_scope","confidence":1.0,"alternatives":[],'
    b'"model":"stand-in","version":"1","truncated":false,"tokens":3}'
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer-Timing: tokenize;dur=0.01, infer;dur=0.02\r\n"
    b"Content-Length: %d\r\n\r\n" % len(_BODY)
) + _BODY

# A law takes the moment at which a request arrived and gives the moment at which its answer is due (monotonic seconds).
Law = Callable[[float], float]


def null(arrived_s: float) -> float:
    """Answers at once."""
    return arrived_s


def stall(every_s: float, held_s: float, epoch_s: float) -> Law:
    """Holds what arrives in the first ``held_s`` of every ``every_s`` until their end; answers the rest at once.

    The latency of Poisson or even arrivals: a share held_s / every_s of them waits uniformly between 0 and held_s.
    """

    def due_s(arrived_s: float) -> float:
        phase_s = (arrived_s - epoch_s) % every_s
        return arrived_s + max(held_s - phase_s, 0.0)

    return due_s


def later(law: Law, delay_s: float) -> Law:
    """The same, each answer so much later: a network, not a queue. A run's limit on lag grows with its latency."""
    return lambda arrived_s: law(arrived_s) + delay_s


def single_server(service_s: Callable[[], float]) -> Law:
    """A queue with one server: first come, first served, service times as drawn (M/M/1, M/D/1 under Poisson arrivals)."""
    free_s = 0.0

    def due_s(arrived_s: float) -> float:
        nonlocal free_s
        free_s = max(arrived_s, free_s) + service_s()
        return free_s

    return due_s


class _Connection:
    """Counts the requests that have arrived whole on one connection."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.complete = 0
        self._parser = httptools.HttpRequestParser(self)

    def on_message_complete(self) -> None:
        self.complete += 1

    def receive(self) -> int:
        """The number of requests that this read completed. Raises OSError when the peer has gone."""
        data = self.socket.recv(65_536)
        if not data:
            raise ConnectionResetError
        self.complete = 0
        self._parser.feed_data(data)
        return self.complete


def serve(listener: socket.socket, law: Law, spin: bool = False) -> NoReturn:
    """Answers every request that arrives on ``listener`` when ``law`` says; with ``spin`` it never sleeps. Never returns."""
    idle_s = 0.0 if spin else -1.0
    # Busy polling near a due moment: epoll's timeout is a whole millisecond, and this process has a core of its own.
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    connections: dict[int, _Connection] = {}
    waiting: list[tuple[float, int, _Connection]] = []
    serial = 0
    while True:
        timeout_s = idle_s if not waiting else max(waiting[0][0] - time.monotonic() - 0.0015, 0.0)
        for fd, _ in poll.poll(timeout_s):
            if fd == listener.fileno():
                accepted, _ = listener.accept()
                accepted.setblocking(False)
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connections[accepted.fileno()] = _Connection(accepted)
                poll.register(accepted.fileno(), select.EPOLLIN)
                continue
            connection = connections[fd]
            try:
                arrived = connection.receive()
            except (OSError, httptools.HttpParserError):
                poll.unregister(fd)
                connections.pop(fd).socket.close()
                continue
            now_s = time.monotonic()
            for _ in range(arrived):
                due_s = law(now_s)
                if due_s <= now_s:
                    _answer(connection)
                else:
                    serial += 1
                    heapq.heappush(waiting, (due_s, serial, connection))
        while waiting and waiting[0][0] <= time.monotonic():
            _answer(heapq.heappop(waiting)[2])


def _answer(connection: _Connection) -> None:
    try:
        connection.socket.send(ANSWER)
    except OSError:
        return  # the client has gone; its connection is closed when its end is read


def listen(port: int, share: bool = False) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one. Those that all want to may share a port.

    Raises OSError where another process has the port.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    listener.listen(4096)
    return listener


def _law(options: argparse.Namespace) -> Law:
    if options.kind == "null":
        return null
    if options.kind == "stall":
        return stall(options.every, options.held, time.monotonic())
    generator = random.Random(options.seed)
    if options.kind == "mm1":
        return single_server(lambda: generator.expovariate(1 / options.service))
    return single_server(lambda: options.service)


def main() -> None:
    """Runs a stand-in server until it is told to stop."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stand_in", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=["null", "stall", "mm1", "md1"])
    parser.add_argument("--port", type=int, default=0, help="port on loopback (0: a free one, printed)")
    parser.add_argument(
        "--every", type=float, default=10.0, help="stall: seconds from one stall to the next (default: %(default)g)"
    )
    parser.add_argument(
        "--held", type=float, default=0.5, help="stall: seconds for which answers are held (default: %(default)g)"
    )
    parser.add_argument(
        "--service", type=float, default=0.002, help="mm1, md1: mean service time in seconds (default: %(default)g)"
    )
    parser.add_argument(
        "--delay", type=float, default=0.0, help="all: seconds by which each answer comes later (default: %(default)g)"
    )
    parser.add_argument("--seed", type=int, default=1, help="mm1: seed of the service times (default: %(default)s)")
    parser.add_argument(
        "--spin",
        action="store_true",
        help="never sleep: on a virtual machine, waking a sleeping server is charged to whoever sends to it",
    )
    parser.add_argument("--share", action="store_true", help="share the port with other stand-ins that are told to")
    options = parser.parse_args()
    if not 0 <= options.port <= 65_535:
        parser.error(f"--port {options.port}: a port is 0 to 65535")
    try:
        listener = listen(options.port, options.share)
    except OSError as error:
        parser.exit(2, f"stand_in: --port {options.port}: {error.strerror}; name another, or 0 for a free one\n")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    try:
        serve(listener, later(_law(options), options.delay) if options.delay else _law(options), options.spin)
    except KeyboardInterrupt:
        listener.close()


if __name__ == "__main__":
    main()
