"""Generator: one process's part of a run: its streams' arrivals, sent and recorded.

Wires schedule, utterances, dispatcher, client and record to gevent's event loop. It knows nothing of Locust.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import math
import resource
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from gevent import socket

from chatload import (
    arrivals,
    call_graph,
    calls,
    contract,
    corpus,
    dispatcher,
    messages,
    noise,
    samples,
    sessions,
    timer,
    timetable,
)
from chatload.client import Client, Target, file_descriptor_limit
from chatload.dispatcher import Dispatcher
from chatload.record import Record
from chatload.turns import Turns
from chatload.turnstile import Turnstile

_TICK_S = 0.05
_REPORT_S = 0.25
_REPORT_ROWS = 1_000  # so many are reported at once: arrivals wait for as long as it takes, which is their lag
_CPU_S = 2.0
_PULSE_S = 1.0
_SPARE_DESCRIPTORS = 64  # for everything that is not a connection to the target


@dataclass(frozen=True)
class Tls:
    """How an https server is verified: by the system's certificates, by those in a file, or not at all."""

    ca_file: str = ""
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """The settings for ssl. Raises contract.HostError when the file holds no certificates."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise contract.HostError(f"--ca-file {self.ca_file}: no certificates can be read from it ({error})") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


@dataclass(frozen=True)
class Plan:
    """What a generator process is to do; the same for all processes of a run but for ``worker``.

    ``run_time_s`` is 0 for a run without a planned end. ``arrivals`` names a process played at the rate of the streams;
    where ``dealt`` has a timetable instead, that is what is played, as part number ``part`` of the run's (None: the run had
    been dealt before this process came to it). With ``sessions`` it consists of their turns (sessions.DTYPE), else of times.
    With a ``graph`` of calls each arrival is a turn of several calls. ``stay_awake``: see timer.make.
    """

    url: str
    token_file: str
    tls: Tls
    arrivals: str
    seed: int
    worker: int
    timeout_s: float
    max_in_flight: int
    run_time_s: float
    utterances: list[corpus.Utterance]
    drawing: messages.Drawing = messages.Drawing()
    dealt: Iterator[np.ndarray] | None = None
    part: int | None = None
    sessions: bool = False
    graph: call_graph.CallGraph | None = None
    stay_awake: bool = False


@dataclass
class Facts:
    """How a generator process fared, beside its samples. Times are seconds since its epoch.

    ``rates`` are (moment, arrivals per second from then on), ``cpu`` (moment, CPU seconds used so far), without ``spare_s``
    (see timer.Timer), ``part`` as in Plan, ``stamped`` whether the kernel told when answers came.
    """

    worker: int
    timer: str
    max_in_flight: int
    part: int | None = None
    rates: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    ended_s: float = 0.0
    spare_s: float = 0.0
    stamped: bool = False
    max_rss_mib: float = 0.0

    def as_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Pulse:
    """How a generator process fares now; what it reports with it makes its samples complete up to ``complete_s``.

    That is the intended time of the oldest arrival that is not done: of what came later some is still out, and what is known
    of it are its fast answers. ``rates`` and ``cpu`` are those of Facts that came since the last pulse.
    """

    worker: int
    part: int | None
    now_s: float
    complete_s: float
    in_flight: int
    rates: list[tuple[float, float]]
    cpu: list[tuple[float, float]]

    def as_json(self) -> dict:
        return asdict(self)


class Labels:
    """Codes of predicted intents: the corpus' intents first, then others in the order in which answers bring them."""

    def __init__(self, utterances: list[corpus.Utterance]) -> None:
        self.names = sorted({utterance.intent for utterance in utterances if utterance.intent})
        self._codes = {name: code for code, name in enumerate(self.names)}
        self._expected = [utterance.intent for utterance in utterances]

    def judge(self, utterance: int, predicted: str | None) -> tuple[int, int]:
        """(outcome, code of the predicted intent) of an answer to an utterance.

        An answer without an intent is wrong; one to an utterance whose intent is not known is ok.
        """
        if predicted is None:
            return samples.WRONG, samples.NOT_PREDICTED
        code = self._codes.get(predicted)
        if code is None:
            code = self._add(predicted)
        expected = self._expected[utterance]
        return (samples.OK if not expected or predicted == expected else samples.WRONG), code

    def note(self, utterance: int, predicted: str | None) -> tuple[int, int]:
        """The same of a model whose answers the corpus does not know: any label is ok."""
        if predicted is None:
            return samples.WRONG, samples.NOT_PREDICTED
        code = self._codes.get(predicted)
        return samples.OK, self._add(predicted) if code is None else code

    def _add(self, name: str) -> int:
        self._codes[name] = len(self.names)
        self.names.append(name)
        return self._codes[name]


class Generator:
    """Plays ``plan``; hands rows of samples, the labels of their codes and rows of calls to ``report`` a few times a second,
    and every second a pulse to ``beat``, after the rows that it speaks of.

    Its epoch is the moment of ``start``.
    """

    def __init__(self, plan: Plan, report: Callable[[bytes, list[str], bytes], None], beat: Callable[[Pulse], None]) -> None:
        self._plan = plan
        self._report = report
        self._beat = beat
        self._beaten = (0, 0)  # how many of the facts' rates and CPU readings the pulses have told
        self._labels = Labels(plan.utterances)
        self._record = Record()
        self._calls = Record(calls.ROW)
        self._streams = 0
        self._stream_rate = 0.0
        self._stopping = False
        self._requests: list[contract.Requests] = []
        self._clients: list[Client] = []
        self._token_read = _modified(plan.token_file)
        self._target = resolve(plan.url, plan.tls)
        clients = len(plan.graph.names) if plan.graph else 1
        self._most_in_flight = min(plan.max_in_flight, (file_descriptor_limit() - _SPARE_DESCRIPTORS) // clients)
        seeds = arrivals.seeds(plan.seed, plan.worker)
        # Before the clock starts: sessions that began long before time 0 take a while to be planned.
        texts = [utterance.text for utterance in plan.utterances]
        planned = _arrivals(plan, seeds.arrivals, messages.draw(texts, plan.drawing, seeds, plan.worker))
        loop = gevent.get_hub().loop
        self._epoch_s = time.perf_counter()
        self._client: Client | Turns
        if plan.graph is None:
            self._client = self._client_of(contract.MODEL, self._record.sample)
        else:
            self._client = Turns(plan.graph, self._client_of, self._record.sample, self._calls.append)
        self._turnstile = _turnstile(self._client, loop, lambda: self.now_s) if plan.sessions else None
        self._dispatcher = Dispatcher(
            *planned,
            self._turnstile.send if self._turnstile else self._client.send,
            time.perf_counter,
            self._epoch_s,
            plan.run_time_s or math.inf,
            # Turns and sessions go on with an answer: they need the loop to read it when it comes.
            self._client.can_wait if isinstance(self._client, Client) and not self._turnstile else lambda: False,
        )
        for client in self._clients:
            client.pause = self._dispatcher.catch_up
        self._timer = timer.make(loop, self._dispatcher.wake, plan.stay_awake)
        self.facts = Facts(plan.worker, self._timer.name, self._most_in_flight, plan.part)

    def _client_of(self, model: str, record: Callable[..., None]) -> Client:
        """A client of one of the server's models; the corpus knows what the intent model should answer."""
        plan = self._plan
        texts = [utterance.text for utterance in plan.utterances]
        vary = functools.partial(noise.vary, seed=plan.seed, worker=plan.worker)
        requests = contract.Requests(texts, plan.url, read_token(plan.token_file), vary, model)
        self._requests.append(requests)
        client = Client(
            gevent.get_hub().loop,
            self._target,
            requests,
            self._labels.judge if model == call_graph.CHECKED else self._labels.note,
            record,
            time.perf_counter,
            self._epoch_s,
            self._plan.timeout_s,
            self._most_in_flight,
        )
        self._clients.append(client)
        return client

    @property
    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.perf_counter() - self._epoch_s

    def start(self) -> None:
        """Starts the clock; arrivals come once there are streams."""
        self._cpu_started_s = time.process_time()
        # A full collection stops everything for tens of milliseconds; what exists now lives as long as the run anyway.
        gc.collect()
        gc.freeze()
        self._measure_cpu()
        self._dispatcher.start(self._timer)
        self._ticking = gevent.spawn(self._tick)

    def set_streams(self, streams: int, stream_rate: float) -> None:
        """From now on, offer ``streams`` times ``stream_rate`` arrivals per second."""
        if (streams, stream_rate) == (self._streams, self._stream_rate):
            return
        self._streams, self._stream_rate = streams, stream_rate
        self._dispatcher.set_rate(streams * stream_rate)
        self.facts.rates.append((self.now_s, streams * stream_rate))

    def stop(self) -> None:
        """Ends the arrivals, waits for the answers still out, reports, and lets go of everything.

        It waits the timeout at most, and that for each call of the longest chain where turns have several.

        Safe to call twice.
        """
        if self._stopping:
            return
        self._stopping = True
        self.facts.ended_s = self._dispatcher.stop()
        chain = self._plan.graph.depth if self._plan.graph else 1
        deadline_s = self.now_s + chain * self._plan.timeout_s + 2 * _TICK_S
        while (self._client.in_flight or self._holds) and self.now_s < deadline_s:
            gevent.sleep(_TICK_S / 5)
        for arrival in self._turnstile.close() if self._turnstile else ():
            self._client.record_unsent(arrival, samples.UNFINISHED)
        self._client.abandon()
        self._ticking.kill()
        self._timer.close()
        gc.unfreeze()
        self._measure_cpu()
        self.facts.spare_s = self._timer.spare_s
        self.facts.stamped = self._client.stamped
        self.facts.max_rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self._hand_over()

    @property
    def _holds(self) -> bool:
        return self._turnstile is not None and self._turnstile.holds

    def _tick(self) -> None:
        reported_s = measured_s = beaten_s = self.now_s
        while True:
            gevent.sleep(_TICK_S)
            self._client.expire()
            if self.now_s - reported_s >= _REPORT_S:
                reported_s = self.now_s
                self._renew_token()
                self._hand_over()
            elif len(self._record) >= _REPORT_ROWS:
                self._hand_over()
            if self.now_s - measured_s >= _CPU_S:
                measured_s = self.now_s
                self._measure_cpu()
            if self.now_s - beaten_s >= _PULSE_S:
                beaten_s = self.now_s
                self._pulse()

    def _measure_cpu(self) -> None:
        self.facts.cpu.append((self.now_s, time.process_time() - self._cpu_started_s - self._timer.spare_s))

    def _pulse(self) -> None:
        facts, (rates, cpu) = self.facts, self._beaten
        self._beaten = len(facts.rates), len(facts.cpu)
        now_s = self.now_s
        held_s = self._turnstile.oldest_s() if self._turnstile else math.inf
        complete_s = min(self._client.oldest_s(), held_s, self._dispatcher.due_s, now_s)
        in_flight = self._client.in_flight
        pulse = Pulse(facts.worker, facts.part, now_s, complete_s, in_flight, facts.rates[rates:], facts.cpu[cpu:])
        self._hand_over()
        self._beat(pulse)

    def _hand_over(self) -> None:
        self._report(self._record.take(), self._labels.names, self._calls.take())

    def _renew_token(self) -> None:
        """Takes up a token that the server has rotated in its key file."""
        modified = _modified(self._plan.token_file)
        # TorchServe writes the file in place: what cannot be read now is read whole the next time.
        with contextlib.suppress(contract.TokenError):
            if modified != self._token_read:
                token = read_token(self._plan.token_file)
                for requests in self._requests:
                    requests.set_token(token)
                self._token_read = modified


def _arrivals(
    plan: Plan, seed: np.random.SeedSequence, utterances: Iterator[tuple[int, int]]
) -> tuple[dispatcher.Schedule, Iterator[tuple[int, ...]]]:
    """When arrivals are due, and what they have beside their times."""
    if plan.dealt is None:
        return arrivals.Schedule(arrivals.process(plan.arrivals, seed)), utterances
    if not plan.sessions:
        return timetable.Timetable(plan.dealt), utterances
    turns = sessions.Timetable(plan.dealt)
    return turns, turns.with_turns(utterances)


def _turnstile(client: Client | Turns, loop: Any, now_s: Callable[[], float]) -> Turnstile:
    turnstile = Turnstile(client.send, loop.run_callback, now_s)
    client.done = turnstile.done
    return turnstile


def resolve(url: str, tls: Tls) -> Target:
    """The target behind a URL. Raises contract.HostError when its name does not resolve."""
    https, host, port, _ = contract.split_host(url)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise contract.HostError(f"host {url!r}: the name {host!r} does not resolve ({error})") from error
    return Target(family, address, host, tls.context() if https else None)


def read_token(path: str) -> str:
    """The token in a token file; empty when no file is named. Raises contract.TokenError."""
    if not path:
        return ""
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise contract.TokenError(
            f"token file {path}: cannot be read ({why}); name the server's key_file.json, or a file with the token alone"
        ) from error
    return contract.parse_token(text, path)


def _modified(path: str) -> Any:
    try:
        return Path(path).stat().st_mtime_ns if path else None
    except OSError:
        return None
