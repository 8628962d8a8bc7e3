"""The client against real sockets: what each kind of answer, and each kind of trouble, is recorded as."""

from __future__ import annotations

import math
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

import gevent
import pytest

from chatload import client, samples
from chatload.arrivals import Arrival
from chatload.client import Client, Target
from chatload.record import Record

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when something came")

REQUEST = b"POST /predictions/intent HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
BODY = b'{"intent":"greet","confidence":0.9,"tokens":6}'
HEAD = b"HTTP/1.1 200 \r\nServer-Timing: tokenize;dur=0.25, infer;dur=1.5\r\n"  # TorchServe sends no reason phrase
ANSWER = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"{}"):
        received = connection.recv(4096)
        if not received:
            raise ConnectionResetError
        data += received
    return data


def answering(*pieces: bytes, pause_s: float = 0.0):
    def script(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause_s)

    return script


class Trial:
    """A client of a port, and the samples that it writes."""

    def __init__(
        self, port: int, tls: ssl.SSLContext | None = None, timeout_s: float = 5.0, max_in_flight: int = 100
    ) -> None:
        self._record = Record()
        self.rows: list[dict] = []
        self.epoch_s = time.perf_counter()
        self.client = Client(
            gevent.get_hub().loop,
            Target(socket.AF_INET, ("127.0.0.1", port), "localhost", tls),
            lambda utterance, variant: REQUEST,
            lambda utterance, predicted: (samples.OK if predicted == "greet" else samples.WRONG, 0),
            self._record.sample,
            time.perf_counter,
            self.epoch_s,
            timeout_s,
            max_in_flight,
        )

    def send(self) -> None:
        self.client.send(Arrival(time.perf_counter() - self.epoch_s, 0))

    def finish(self, within_s: float = 5.0) -> list[str]:
        """Waits until nothing is in flight; returns the outcomes of all samples."""
        deadline_s = time.monotonic() + within_s
        while self.client.in_flight and time.monotonic() < deadline_s:
            gevent.sleep(0.005)
            self.client.expire()
        self.client.abandon()
        rows = samples.from_bytes(self._record.take())
        self.rows = [dict(zip(rows.dtype.names, row, strict=True)) for row in rows.tolist()]
        return [samples.outcome_name(row["outcome"]) for row in self.rows]


@pytest.mark.parametrize(
    ("pieces", "outcome"),
    [
        ([ANSWER], "ok"),
        ([ANSWER[:30], ANSWER[30:90], ANSWER[90:]], "ok"),
        (
            [
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
                b"5\r\n" + BODY[:5] + b"\r\n",
                b"%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n\r\n",
            ],
            "ok",
        ),
        ([ANSWER.replace(b"greet", b"other")], "wrong"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope"], "wrong"),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", ANSWER], "ok"),
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"], "http_503"),
        ([b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"], "http_404"),
        ([b"this is not HTTP\r\n\r\n"], "reset"),
    ],
)
def test_an_answer_becomes_its_outcome(scripted, pieces, outcome):
    trial = Trial(scripted(answering(*pieces, pause_s=0.01)).port)
    trial.send()
    assert trial.finish() == [outcome]


def test_a_sample_holds_times_and_the_servers_own_timing(scripted):
    trial = Trial(scripted(answering(ANSWER)).port)
    trial.client.send(Arrival(0.0, 0, variant=3, session=2, turn=5))
    assert trial.finish() == ["ok"]
    row = trial.rows[0]
    assert row["intended_s"] == 0.0 < row["sent_s"] < row["done_s"] < 1
    assert (row["tokens"], row["variant"], row["session"], row["turn"], row["held_s"]) == (6, 3, 2, 5, 0.0)
    assert (row["tokenize_ms"], row["infer_ms"], row["bytes"]) == (0.25, 1.5, len(BODY))


def test_whoever_asks_is_told_of_every_arrival_that_has_its_sample(scripted):
    trial, told = Trial(scripted(answering(ANSWER)).port, max_in_flight=1), []
    trial.client.done = told.append
    arrivals = [Arrival(0.0, 0, session=session, turn=1) for session in (1, 2, 3)]
    trial.client.send(arrivals[0])
    trial.client.send(arrivals[1])
    trial.client.record_unsent(arrivals[2], samples.UNFINISHED)
    assert trial.finish() == ["dropped", "unfinished", "ok"]
    assert told == [arrivals[1], arrivals[2], arrivals[0]]


def test_between_two_answers_there_is_a_pause_in_which_another_can_be_sent(scripted):
    server = scripted(answering(ANSWER))
    trial = Trial(server.port)
    pauses = []

    def pause() -> None:
        pauses.append(len(trial.client.idle))
        if len(pauses) < 3:
            trial.send()

    trial.client.pause = pause
    trial.send()
    assert trial.finish() == ["ok"] * 3
    assert pauses == [1, 1, 1]  # the connection of the answer is there for the next


def test_connections_are_kept_and_used_again(scripted):
    server = scripted(answering(ANSWER))
    trial = Trial(server.port)
    for _ in range(5):
        trial.send()
        while trial.client.in_flight:
            gevent.sleep(0.001)
    assert trial.finish() == ["ok"] * 5
    assert server.connections == 1


def test_a_slow_answer_delays_no_other(scripted):
    held = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        if not held:
            held.append(True)
            time.sleep(0.3)
        connection.sendall(ANSWER)

    trial = Trial(scripted(script).port)
    trial.send()
    gevent.sleep(0.1)
    for _ in range(5):
        trial.send()
    assert trial.finish() == ["ok"] * 6
    latencies = [row["done_s"] - row["intended_s"] for row in trial.rows]
    assert max(latencies[:-1]) < 0.2 < latencies[-1]


def test_a_server_that_closes_an_idle_connection_costs_nothing(scripted):
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER)  # and closes

    trial = Trial(scripted(script).port)
    for _ in range(3):
        trial.send()
        gevent.sleep(0.05)
    assert trial.finish() == ["ok"] * 3
    assert trial.client.idle == []


def test_a_connection_lost_in_mid_request_is_a_reset(scripted):
    trial = Trial(scripted(lambda connection: read_request(connection)).port)
    trial.send()
    assert trial.finish() == ["reset"]


def test_half_an_answer_is_a_reset(scripted):
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER[:60])

    trial = Trial(scripted(script).port)
    trial.send()
    assert trial.finish() == ["reset"]


def test_nobody_listening_is_a_connect_failure():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    trial = Trial(port)
    for _ in range(3):
        trial.send()
    assert trial.finish() == ["connect"] * 3


def test_no_answer_in_time_is_a_timeout_and_frees_its_place(scripted):
    trial = Trial(scripted(lambda connection: time.sleep(1)).port, timeout_s=0.1, max_in_flight=1)
    trial.send()
    gevent.sleep(0.15)
    trial.client.expire()
    trial.send()
    assert trial.finish() == ["timeout", "timeout"]
    assert 0.1 < trial.rows[0]["done_s"] - trial.rows[0]["sent_s"] < 0.5


def test_beyond_the_bound_arrivals_are_dropped(scripted):
    trial = Trial(scripted(answering(ANSWER, pause_s=0.1)).port, max_in_flight=2)
    for _ in range(5):
        trial.send()
    outcomes = trial.finish()
    assert sorted(outcomes) == ["dropped"] * 3 + ["ok"] * 2
    assert all(row["sent_s"] != row["sent_s"] for row in trial.rows if row["outcome"] == samples.DROPPED)  # NaN


def test_what_is_still_out_at_the_end_is_unfinished(scripted):
    trial = Trial(scripted(lambda connection: time.sleep(2)).port)
    trial.send()
    assert trial.finish(within_s=0.1) == ["unfinished"]
    assert trial.client.in_flight == 0


def test_one_request_that_hangs_is_all_that_is_kept_of_many(scripted):
    hanging = []

    def script(connection: socket.socket) -> None:
        read_request(connection)
        if not hanging:
            hanging.append(True)
            time.sleep(1)
        connection.sendall(ANSWER)
        answering(ANSWER)(connection)

    trial = Trial(scripted(script).port)
    hanging_s = 12.5
    trial.client.send(Arrival(hanging_s, 0))
    gevent.sleep(0.1)
    for number in range(100):
        trial.client.send(Arrival(hanging_s + number, 0))
        while trial.client.in_flight > 1:
            gevent.sleep(0.001)
    assert trial.client.oldest_s() == hanging_s
    assert list(trial.client._deadlines.values()) == pytest.approx([5.0], abs=1.0)
    assert trial.finish(within_s=0.01) == ["ok"] * 100 + ["unfinished"]
    assert trial.client.oldest_s() == math.inf


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key.pem -out cert.pem -subj /CN=localhost"
    command += " -addext subjectAltName=DNS:localhost"
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


def tls_answering(folder):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    def script(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            answering(ANSWER)(secured)

    return script


def test_https_with_a_trusted_certificate(scripted, certificate):
    server = scripted(tls_answering(certificate))
    trial = Trial(server.port, ssl.create_default_context(cafile=certificate / "cert.pem"))
    pauses = []
    trial.client.pause = lambda: pauses.append(len(trial.client.idle))
    for _ in range(3):
        trial.send()
        while trial.client.in_flight:
            gevent.sleep(0.001)
    assert trial.finish() == ["ok"] * 3
    assert server.connections == 1
    assert pauses == [1, 1, 1]


def test_https_with_an_unknown_certificate_is_a_connect_failure(scripted, certificate):
    trial = Trial(scripted(tls_answering(certificate)).port, ssl.create_default_context())
    trial.send()
    assert trial.finish() == ["connect"]


@pytest.fixture(scope="module")
def stamps():
    """Linux begins to stamp what comes a while after the first socket has asked for it (net_enable_timestamp puts it off
    to a work queue, which a busy machine is late with), and ends with the last one: so one asks for it as long as these
    tests last.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.bind(("127.0.0.1", 0))
        asking.setsockopt(socket.SOL_SOCKET, client._STAMPS, 1)
        for _ in range(1_000):
            asking.sendto(b"?", asking.getsockname())
            time.sleep(0.005)
            _, [(_, _, stamp)], _, _ = asking.recvmsg(1, client._STAMP_BYTES)
            if client._age_s(stamp) > 0.004:  # else it was made up when it was read
                break
        else:
            pytest.fail("Linux has not begun to stamp within 5 s")
        yield


def held_up(trial: Trial, for_s: float = 0.3) -> float:
    """The service time of a request on a warm connection, during which the event loop has no turn."""
    warm(trial, 1).send()
    deadline_s = time.perf_counter() + for_s
    while time.perf_counter() < deadline_s:
        pass
    assert trial.finish() == ["ok", "ok"]
    return trial.rows[1]["done_s"] - trial.rows[1]["sent_s"]


def warm(trial: Trial, connections: int) -> Trial:
    """The trial after as many answers on as many connections at once."""
    for _ in range(connections):
        trial.send()
    while trial.client.in_flight:
        gevent.sleep(0.001)
    return trial


@linux
@pytest.mark.usefixtures("stamps")
def test_an_answer_is_done_when_it_came_and_not_when_it_was_read(scripted):
    trial = Trial(scripted(answering(ANSWER)).port)
    assert 0 < held_up(trial) < 0.2
    assert trial.client.stamped


@linux
@pytest.mark.usefixtures("stamps")
def test_the_end_of_a_connection_is_no_answer_without_a_time(scripted):
    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER)

    trial = warm(Trial(scripted(script).port), 1)
    deadline_s = time.monotonic() + 5
    while trial.client.idle and time.monotonic() < deadline_s:  # until the server's end has been read
        gevent.sleep(0.001)
    assert trial.finish() == ["ok"]
    assert trial.client.stamped


@linux
@pytest.mark.usefixtures("stamps")
def test_an_answer_over_https_is_done_when_it_came(scripted, certificate):
    trial = Trial(scripted(tls_answering(certificate)).port, ssl.create_default_context(cafile=certificate / "cert.pem"))
    assert 0 < held_up(trial) < 0.2
    assert trial.client.stamped
    assert trial.client.can_wait()


@linux
@pytest.mark.usefixtures("stamps")
def test_the_loop_can_wait_once_it_is_known_that_answers_carry_their_time(scripted, monkeypatch):
    server = scripted(answering(ANSWER))
    trial = Trial(server.port)
    assert not trial.client.can_wait()  # nothing has told yet
    assert warm(trial, 1).client.can_wait()
    trial.send()
    assert trial.client.can_wait()
    trial.finish()
    monkeypatch.setattr(client, "_STAMPS", 0x7FFF)
    untold = warm(Trial(server.port), 1)
    assert not untold.client.can_wait()
    untold.finish()


@linux
@pytest.mark.usefixtures("stamps")
def test_the_loop_cannot_wait_while_a_connection_is_opened(scripted):
    trial = warm(Trial(scripted(answering(ANSWER)).port), 1)
    for _ in range(2):
        trial.send()
    assert not trial.client.can_wait()
    while trial.client.unsent:
        gevent.sleep(0.001)
    assert trial.client.can_wait()
    assert trial.finish() == ["ok"] * 3


@linux
@pytest.mark.usefixtures("stamps")
def test_the_loop_can_wait_again_after_a_connection_that_was_refused(scripted):
    trial = warm(Trial(scripted(answering(ANSWER)).port), 1)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = closed.getsockname()
    target, trial.client.target = trial.client.target, Target(socket.AF_INET, refusing, "localhost", None)
    for _ in range(2):
        trial.send()
    trial.client.target = target
    assert sorted(trial.finish()) == ["connect", "ok", "ok"]
    assert trial.client.can_wait()


@linux
@pytest.mark.usefixtures("stamps")
def test_the_loop_cannot_wait_while_a_request_is_partly_out(scripted):
    large = REQUEST.replace(b"{}", b" " * 30_000_000 + b"{}").replace(b"Length: 2", b"Length: 30000002")
    reading = threading.Event()

    def script(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER)
        reading.wait(5)
        while not connection.recv(1_000_000).endswith(b"{}"):
            pass
        connection.sendall(ANSWER)

    trial = warm(Trial(scripted(script).port), 1)
    trial.client.request = lambda utterance, variant: large
    trial.send()
    assert not trial.client.can_wait()
    reading.set()
    assert trial.finish() == ["ok", "ok"]
    assert trial.client.can_wait()


def test_where_the_kernel_does_not_tell_an_answer_is_done_when_it_is_read(scripted, monkeypatch):
    monkeypatch.setattr(client, "_STAMPS", 0x7FFF)  # an option that no kernel knows
    trial = Trial(scripted(answering(ANSWER)).port)
    assert held_up(trial) >= 0.3
    assert not trial.client.stamped


@pytest.mark.parametrize(("ago_s", "age_s"), [(0.25, 0.25), (0.0, 0.0), (-3600.0, 0.0)])
def test_an_answer_s_age_is_never_negative(ago_s, age_s, monkeypatch):
    now_ns = 1_800_000_000_123_456_789
    monkeypatch.setattr(time, "time_ns", lambda: now_ns)
    stamp = struct.pack("@ll", *divmod(now_ns - round(ago_s * 1e9), 1_000_000_000))
    assert client._age_s(stamp) == pytest.approx(age_s, abs=1e-9)


def test_a_clock_set_forward_does_not_make_an_answer_come_before_its_request(scripted, monkeypatch):
    monkeypatch.setattr(client, "_age_s", lambda stamp: 3600.0)
    trial = Trial(scripted(answering(ANSWER)).port)
    trial.send()
    assert trial.finish() == ["ok"]
    assert trial.rows[0]["done_s"] >= trial.rows[0]["sent_s"] > 0


def test_an_answer_whose_timing_no_row_can_hold_is_an_answer(scripted):
    head = b"HTTP/1.1 200 \r\nServer-Timing: tokenize;dur=0.25, infer;dur=1e39\r\n"
    trial = Trial(scripted(answering(ANSWER.replace(HEAD, head))).port)
    trial.send()
    assert trial.finish() == ["ok"]
    assert math.isnan(trial.rows[0]["infer_ms"])
