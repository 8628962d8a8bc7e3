"""Locust adapter: chatload's runs inside Locust. The only module that imports locust.

A Locust user is a stream of arrivals, so everything that steers users (the web UI, --users, shapes, workers, rebalancing)
steers the offered rate. Users do nothing themselves: they are counted, and the process's one generator sends for all.

Locust's traps that shape this file: it swallows exceptions in event listeners; a master fires test_stop before its
workers have stopped and waits 0.5 s for their last reports; on SIGTERM and Ctrl-C ``quitting`` comes before
``test_stop``. So every process ends its run in ``test_stopping`` (which comes first, always, and may block), a master
waits there until each worker has said that it reported everything, and no result is written by a swallowed listener
without leaving a run that says so.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
from locust import LoadTestShape, User, events
from locust.env import Environment
from locust.runners import STATE_INIT, STATE_MISSING, STATE_STOPPED, MasterRunner, WorkerRunner

from chatload import (
    admission,
    arrival_spec,
    call_graph,
    contract,
    dealing,
    duration,
    feed,
    fold,
    generator,
    keeper,
    live_page,
    locust_table,
    objective,
    player,
    samples,
    search,
    searching,
    settings,
    verdict,
)

logger = logging.getLogger("chatload")

_ROWS, _PULSE, _END, _STOP = "chatload_rows", "chatload_pulse", "chatload_end", "chatload_stop"
_PROBE = "chatload_probe"
_FINISH_S = 120.0  # 10 million samples are folded within that
# Generators end a run by themselves, exactly on time. Locust's own timer started earlier than they did and must not be
# first: stopping costs it 50 ms of looking at its call stack, which would make the last arrivals late.
_STOP_AFTER_END_S = 1.0


class Stream(User):
    """One stream of arrivals. A scenario subclasses it; class attributes named like options set their defaults.

    ``calls`` makes each arrival a turn of several model calls: see call_graph.
    """

    abstract = True
    calls: Mapping[str, Sequence[str]] = {}
    tasks = [lambda _: None]  # Locust warns of a user without tasks; this one is never run
    _scenario: type[Stream] | None = None

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        Stream._scenario = cls

    def start(self, group: Any) -> Any:
        """Counts the stream in, until Locust kills its greenlet. It never waits for an answer."""
        self._group = group
        self._greenlet = group.spawn(_live, self)
        return self._greenlet


def _graph() -> call_graph.CallGraph | None:
    """The calls of the scenario's turns; None where an arrival is one call."""
    declared = (Stream._scenario or Stream).calls
    return call_graph.parse(declared) if declared else None


class CapacitySearch(LoadTestShape):
    """A load shape that searches the highest rate within the objective. A scenario subclasses it, beside its Stream."""

    abstract = True

    def tick(self) -> tuple[int, float] | None:
        """The users of the present probe; None when the search is over."""
        assert self.runner is not None
        return _session(self.runner.environment).searching.tick()


class _StartedSearch(CapacitySearch):
    """A search that was asked for while another scenario was loaded."""


def _live(stream: Stream) -> None:  # Locust finds the user in its greenlet's first argument
    streams = _session(stream.environment).player
    streams.add_streams(1)
    try:
        gevent.get_hub().switch()  # sleeps until killed, without a timer
    finally:
        streams.add_streams(-1)


def _session(environment: Environment) -> _Session:
    return environment.chatload_session  # type: ignore[attr-defined]


@events.init_command_line_parser.add_listener
def _add_options(parser: Any) -> None:
    # Locust listens on all interfaces, without a password; who wants that must say so.
    parser.set_defaults(web_host="127.0.0.1", master_bind_host="127.0.0.1")
    group = parser.add_argument_group("chatload")
    for option in settings.OPTIONS:
        default = getattr(Stream._scenario, option.name, option.default)
        kind = type(option.default)
        action = group.add_argument(option.flag, type=kind, default=default, help=f"{option.help} [{default}]")
        action.include_in_web_ui = True  # Locust's parser sets this itself, but not for arguments of a group


@events.init.add_listener
def _open_session(environment: Environment, **_: Any) -> None:
    session = _Session(environment)
    environment.chatload_session = session  # type: ignore[attr-defined]
    if not isinstance(environment.runner, WorkerRunner):
        session.plan_users()
        if environment.parsed_options is not None and environment.parsed_options.headless:
            session.refuse_mistakes()
    session.listen()
    if environment.web_ui is not None:
        live_page.install(environment.web_ui, session, getattr(environment.parsed_options, "web_base_path", ""))


class _Session:
    """This process's part in the runs of a Locust environment, whatever its role: local, master or worker."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.feed = feed.Feed()
        self.mistake = ""
        self.player = player.Player(self)
        self._run: keeper.Keeper | None = None
        self._planned_rate: float | None = None
        self._finished = gevent.event.Event()  # whoever quits waits for the report of the run before
        self._finished.set()
        self._report = ""
        self._outcome: str | None = None
        self.searching = searching.Searching(self, self._guard)
        self._usual_shape: LoadTestShape | None = None

    @property
    def is_worker(self) -> bool:
        return isinstance(self.environment.runner, WorkerRunner)

    @property
    def is_master(self) -> bool:
        return isinstance(self.environment.runner, MasterRunner)

    def listen(self) -> None:
        happened, runner = self.environment.events, self.environment.runner
        happened.test_start.add_listener(self._guard(self._on_test_start))
        happened.test_stopping.add_listener(self._guard(self._on_test_stopping))
        happened.test_stop.add_listener(self._guard(self._on_test_stop))
        happened.spawning_complete.add_listener(self._guard(self._on_spawning_complete))
        happened.quitting.add_listener(self._guard(self._on_quitting))
        happened.quit.add_listener(self._guard(self._on_quit))
        assert runner is not None
        if self.is_master:
            runner.register_message(_ROWS, self._on_rows)
            runner.register_message(_PULSE, self._on_pulse)
            runner.register_message(_END, self._on_end)
        if self.is_worker:
            runner.register_message(_PROBE, self._on_probe)
            runner.register_message(_STOP, self._on_stop, concurrent=True)  # it drains, which takes a while

    def _guard(self, listener: Callable[..., None]) -> Callable[..., None]:
        """Locust logs what a listener raises and goes on; a run whose engine broke must not look like a good one."""

        def guarded(**keywords: Any) -> None:
            try:
                listener(**keywords)
            except admission.MISTAKES as error:
                logger.error(str(error))
                self.mistake = str(error)
                self._abort(str(error))
            except Exception:
                logger.exception("chatload failed; the run is invalid")
                self._abort("chatload failed; its log says why")

        return guarded

    def _abort(self, why: str) -> None:
        self._outcome = verdict.INVALID
        self.searching.abort(why)
        if self.environment.runner is not None and not self.is_worker:
            self._end_early()

    def _end_early(self) -> None:
        runner = self.environment.runner
        assert runner is not None
        gevent.spawn(runner.quit if self._headless else runner.stop)

    @property
    def _headless(self) -> bool:
        return bool(self.environment.parsed_options and self.environment.parsed_options.headless)

    def latest(self) -> bytes:
        """For the live page: the last snapshot."""
        return self.feed.latest

    def controls(self) -> dict[str, Any]:
        """For the live page: what its controls begin with."""
        options, runner = vars(self.environment.parsed_options), self.environment.runner
        assert runner is not None
        stream_rate = options["stream_rate"] if self._run is None else options["stream_rate_exact"]
        return {
            "state": runner.state,
            "mistake": self.mistake,
            "host": self.environment.host or "",
            "rate": options["rate"] or (options["num_users"] or 1) * stream_rate,
            "stream_rate": stream_rate,
            "objective": options["objective"],
            "warmup": options["warmup"],
            "run_time": f"{options['run_time'] or 60}s",
        }

    def change_rate(self, rate: float) -> None:
        """For the live page. Locust's own /swarm would do it too, but it forgets the run time of a run that it edits."""
        options, runner = self.environment.parsed_options, self.environment.runner
        if self._run is None or runner is None or options is None:
            raise ValueError("no run goes on; start one")
        users = max(round(rate / options.stream_rate_exact), 1)
        gevent.spawn(runner.start, users, users)

    # --- before a run ------------------------------------------------------------------------------------------

    def plan_users(self) -> None:
        """Sets Locust's timer, and its number of users from --rate, which start at once: a stream costs nearly nothing."""
        options = self.environment.parsed_options
        logging.getLogger("locust.runners").addFilter(lambda record: "spawn rate is very high" not in record.getMessage())
        if options is None:
            return
        options.enable_rebalancing = True  # the streams of a lost worker move to the others
        if options.headless and options.run_time:
            options.planned_run_time_s = options.run_time  # travels to the workers with the other options
            options.run_time += _STOP_AFTER_END_S
        if not options.rate or options.rate < 0 or options.stream_rate <= 0:
            return
        options.num_users = max(round(options.rate / options.stream_rate), 1)
        options.spawn_rate = options.spawn_rate or options.num_users
        self._planned_rate = options.rate

    def refuse_mistakes(self) -> None:
        """Headless: ends the process with one line and exit code 2 when the run could not work."""
        try:
            wanted = self._read_settings()
            if isinstance(self.environment.shape_class, CapacitySearch):
                search.check(wanted)
            self._admit(wanted)
            keeper.check_results(Path(wanted.results))
        except admission.MISTAKES as error:
            print(f"chatload: {error}", file=sys.stderr)
            sys.exit(2)

    def _read_settings(self) -> settings.Settings:
        options = vars(self.environment.parsed_options)
        return settings.read(options, self.environment.host, options.get("planned_run_time_s", options.get("run_time")))

    def _admit(self, wanted: settings.Settings) -> admission.Admitted:
        return admission.check(wanted, _graph(), shaped=self.environment.shape_class is not None)

    def _on_test_start(self, **_: Any) -> None:
        wanted = self._read_settings()
        self._report, self._outcome, self.mistake = "", None, ""
        options = self.environment.parsed_options
        assert options is not None
        if not self.is_worker:  # travels to the workers with the other options
            options.searching = isinstance(self.environment.shape_class, CapacitySearch)
        if options.searching:
            options.dealt_to, options.dealt_rate = [], 0.0  # a search has no timetable
            self._start_search(wanted)
            return
        if not self.is_worker:
            self._start_run(wanted, *self._users_and_stream_rate(wanted))
        if not self.is_master:
            self._start_generator(wanted)

    def _start_run(self, wanted: settings.Settings, users: int, stream_rate: float) -> None:
        admitted = self._admit(wanted)
        runner = self.environment.runner
        assert runner is not None
        workers = set(runner.clients.keys()) if isinstance(runner, MasterRunner) else {"local"}
        parts, mean_rate = self._deal(wanted, users * stream_rate)
        rate = mean_rate if arrival_spec.parse(wanted.arrivals).name == "trace" else users * stream_rate
        self._run = keeper.begin(
            wanted,
            self._scenario,
            admitted.replayed,
            workers,
            rate=rate,
            stream_rate=stream_rate,
            calls=dict((Stream._scenario or Stream).calls),
            parts=parts,
            model=admitted.model,
        )
        if self.environment.web_ui is not None or self.searching.goes_on:
            self.feed.follow(self._run.folder)
        logger.info("Run folder: %s", self._run.folder)
        if self.environment.shape_class is None:  # what a shape will offer is known to nobody
            clauses = objective.parse(wanted.objective)
            labelled = any(utterance.intent for utterance in admitted.replayed.utterances)
            said = duration.advice(clauses, mean_rate, wanted.warmup_s, wanted.run_time_s, labelled)
            print(f"chatload: {said}", flush=True)

    @property
    def _scenario(self) -> str:
        return (Stream._scenario or Stream).__name__.lower()

    def _users_and_stream_rate(self, wanted: settings.Settings) -> tuple[int, float]:
        """How many users there will be and what each offers.

        A rate typed into the web UI's form asks for another number of users than the form's own field says; the field
        that was changed wins.
        """
        options, runner = self.environment.parsed_options, self.environment.runner
        assert options is not None
        assert runner is not None
        users = options.num_users or 1
        if wanted.rate and wanted.rate != self._planned_rate:
            self._planned_rate = wanted.rate
            if users != wanted.streams:
                users = options.num_users = wanted.streams
                gevent.spawn(runner.start, users, users)
        exact = wanted.rate / users if wanted.rate and users == wanted.streams else wanted.stream_rate
        options.stream_rate_exact = exact  # travels to the workers with the other options
        return users, exact

    def _deal(self, wanted: settings.Settings, rate: float) -> tuple[int, float]:
        """Deals the run's timetable, where it has one, to the workers here now; returns (workers, its mean rate)."""
        options, runner = self.environment.parsed_options, self.environment.runner
        assert options is not None
        # Both travel to the workers with the other options.
        options.dealt_to = sorted(map(runner.get_worker_index, runner.clients)) if isinstance(runner, MasterRunner) else [0]
        options.dealt_rate = rate
        return len(options.dealt_to), _dealing(wanted, rate).mean_rate(wanted.run_time_s)

    def _start_generator(self, wanted: settings.Settings) -> None:
        options, worker = self.environment.parsed_options, max(getattr(self.environment.runner, "worker_index", 0), 0)
        assert options is not None
        terms = player.Terms(options.stream_rate_exact, options.dealt_to, options.dealt_rate)
        self.player.start(wanted, _graph(), terms, worker)

    # --- during a run ------------------------------------------------------------------------------------------

    def keep(self, rows: bytes, labels: list[str], calls: bytes) -> None:
        """Takes rows of samples and of calls from this process's generator: to Locust, the run folder or the master."""
        name = "turn" if _graph() else contract.PATH
        locust_table.add(self.environment.stats, name, samples.from_bytes(rows))
        if self._run is not None:
            self._take(self._run, 0, rows, labels, calls)
        elif self.is_worker:
            runner = self.environment.runner
            assert isinstance(runner, WorkerRunner)
            report = {"worker": runner.worker_index, "rows": rows, "labels": labels, "calls": calls}
            runner.send_message(_ROWS, report)

    def beat(self, pulse: generator.Pulse) -> None:
        """Takes a pulse of this process's generator."""
        if self._run is not None:
            self._run.beat(0, pulse.as_json())
        elif self.is_worker:
            assert self.environment.runner is not None
            self.environment.runner.send_message(_PULSE, pulse.as_json())

    def end(self, facts: dict) -> None:
        """Takes the final facts of this process's generator."""
        if self._run is not None:
            self._run.end(0, facts)
        elif self.is_worker:
            assert self.environment.runner is not None
            self.environment.runner.send_message(_END, facts)

    def _on_pulse(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.beat(msg.data["worker"], msg.data)

    def _on_rows(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.workers.add(msg.node_id)
            self._take(self._run, *(msg.data[part] for part in ("worker", "rows", "labels", "calls")))

    def _take(self, run: keeper.Keeper, worker: int, rows: bytes, labels: list[str], calls: bytes) -> None:
        """Keeps reported rows, and ends the run where they say that it is hopeless."""
        run.parts.append(worker, rows, labels, calls)
        if run.is_hopeless(rows):
            logger.warning("chatload: aborted: %s", run.header["aborted"])
            if self.searching.goes_on:
                self.searching.end_probe_early()
            else:
                self._end_early()

    def _on_spawning_complete(self, user_count: int, **_: Any) -> None:
        self.searching.note_users(user_count)
        if self._run is not None:
            self._run.note_users(user_count)

    # --- a capacity search -------------------------------------------------------------------------------------

    def start_search(self, wanted: str) -> None:
        """Starts a search for the capacity within an objective, as the web page does. Raises one of admission.MISTAKES."""
        environment, runner = self.environment, self.environment.runner
        assert environment.parsed_options is not None
        assert runner is not None
        search.plan(settings.read({**vars(environment.parsed_options), "objective": wanted}, environment.host, None))
        if runner.state not in (STATE_INIT, STATE_STOPPED):
            raise settings.SettingsError("a run goes on: stop it before a search is started")
        environment.parsed_options.objective = wanted
        if not isinstance(environment.shape_class, CapacitySearch):
            self._usual_shape, environment.shape_class = environment.shape_class, _StartedSearch()
            environment.shape_class.runner = runner
        runner.start_shape()

    def stop_search(self) -> None:
        """Ends the search that goes on; its probes are kept."""
        assert self.environment.runner is not None
        gevent.spawn(self.environment.runner.stop)

    @property
    def search(self) -> dict | None:
        """For the live page: how the last search stands."""
        return self.searching.state

    def _start_search(self, wanted: settings.Settings) -> None:
        self.player.expect_none()
        if not self.is_worker:
            self._admit(wanted)
            self.searching.begin(wanted, self._scenario)

    def begin_probe(self, wanted: settings.Settings) -> keeper.Keeper:
        """Starts a probe's run here, and its generators wherever they are, for the streams that there are."""
        options, runner, stream_rate = self.environment.parsed_options, self.environment.runner, wanted.rate / wanted.streams
        assert options is not None
        self._start_run(wanted, wanted.streams, stream_rate)
        options.stream_rate_exact = stream_rate
        if isinstance(runner, MasterRunner):
            runner.send_message(_PROBE, {"seed": wanted.seed, "run_time_s": wanted.run_time_s, "stream_rate": stream_rate})
        else:
            self._start_generator(wanted)
        assert self._run is not None
        return self._run

    def end_probe(self) -> None:
        """Drains all generators; the run is then no longer this session's."""
        self._end_run()
        self._run = None

    def _on_probe(self, environment: Environment, msg: Any) -> None:
        options = self.environment.parsed_options
        assert options is not None
        options.stream_rate_exact = msg.data["stream_rate"]

        def start() -> None:
            wanted = replace(self._read_settings(), seed=msg.data["seed"], run_time_s=msg.data["run_time_s"])
            self._start_generator(wanted)

        self._guard(start)()

    # --- the end of a run --------------------------------------------------------------------------------------

    def _on_stop(self, environment: Environment, msg: Any) -> None:
        self._guard(self.player.end)()

    def _on_end(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.end(msg.data["worker"], msg.data)
            self._run.ended.add(msg.node_id)

    def _on_test_stopping(self, **_: Any) -> None:
        self.searching.interrupt("the process was told to stop")
        if self._run is not None:
            self._run.watch = None
        self._end_run()

    def _end_run(self) -> None:
        if self.is_master:
            self._end_workers()
        else:
            self.player.end()

    def _end_workers(self) -> None:
        """Has all workers end their generators, and waits until each has said so, is lost, or takes far too long."""
        run, runner = self._run, self.environment.runner
        if run is None or not isinstance(runner, MasterRunner):
            return
        runner.send_message(_STOP)
        graph = _graph()
        chain = graph.depth if graph else 1
        deadline = time.monotonic() + chain * self._read_settings().timeout_s + player.DRAIN_GRACE_S

        def awaited() -> set[str]:
            alive = {client.id for client in runner.clients.values() if client.state != STATE_MISSING}
            return (run.workers & alive) - run.ended

        while awaited() and time.monotonic() < deadline:
            gevent.sleep(0.02)

    def _on_test_stop(self, **_: Any) -> None:
        run, self._run = self._run, None
        if run is None and not self.searching.goes_on:
            return
        self._finished.clear()
        try:
            self._finish(run)
        finally:
            self._finished.set()

    def _finish(self, run: keeper.Keeper | None) -> None:
        if run is not None:
            self._report = run.finish()
            self._outcome = fold.outcome(run.folder)
        if self.searching.goes_on:
            if isinstance(self.environment.shape_class, _StartedSearch):
                self.environment.shape_class = self._usual_shape
            self._report, self._outcome = self.searching.close()
        if not self._headless:
            print(self._report, flush=True)

    def _on_quitting(self, **_: Any) -> None:
        self.feed.close()
        runner = self.environment.runner
        assert runner is not None
        if self.searching.goes_on:
            runner.stop()
        elif self._run is not None:  # neither Locust's timer nor the web UI has stopped it: a signal has
            if not self._run.ended and runner.state not in ("stopping", "cleanup"):
                self._run.header["interrupted"] = "the process was told to stop (Ctrl-C or SIGTERM)"
            runner.stop()
        self._finished.wait(_FINISH_S)
        if self.is_worker:
            self.player.end()
            self.environment.process_exit_code = 0
        elif self._outcome is not None:
            self.environment.process_exit_code = verdict.EXIT_CODES[self._outcome]
        elif self._headless:
            self.environment.process_exit_code = verdict.EXIT_CODES[verdict.INVALID]

    def _on_quit(self, **_: Any) -> None:
        if self._headless and self._report:
            print(self._report, flush=True)


def _dealing(wanted: settings.Settings, rate: float) -> dealing.Dealing:
    return dealing.read(wanted.arrivals, wanted.sessions, rate, wanted.seed)
