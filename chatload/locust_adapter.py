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

import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import LoadTestShape, User, events
from locust.env import Environment
from locust.runners import (
    STATE_INIT,
    STATE_MISSING,
    STATE_RUNNING,
    STATE_SPAWNING,
    STATE_STOPPED,
    MasterRunner,
    Runner,
    WorkerRunner,
)

from chatload import (
    admission,
    arrival_spec,
    call_graph,
    contract,
    controls,
    feed,
    fold,
    guard,
    intake,
    interrupt,
    keeper,
    live_page,
    locust_table,
    locust_timer,
    orders,
    player,
    search,
    searching,
    settings,
    users,
    verdict,
    worker,
    workers,
)

logger = logging.getLogger("chatload")

_PART = "chatload_part"  # attribute of Locust's environment
_FINISH_S = 120.0  # 10 million samples are folded within that


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


def _scenario() -> type[Stream]:
    return Stream._scenario or Stream


def _graph() -> call_graph.CallGraph | None:
    """The calls of the scenario's turns; None where an arrival is one call. Raises call_graph.CallGraphError."""
    return call_graph.parse(_scenario().calls) if _scenario().calls else None


class CapacitySearch(LoadTestShape):
    """A load shape that searches the highest rate within the objective. A scenario subclasses it, beside its Stream."""

    abstract = True

    def tick(self) -> tuple[int, float] | None:
        """The users of the present probe; None when the search is over."""
        assert self.runner is not None
        session = _part_in(self.runner.environment)
        assert isinstance(session, _Session), "load shapes are asked where users are dealt, which is no worker"
        return session.searching.tick()


class _StartedSearch(CapacitySearch):
    """A search that was asked for while another scenario was loaded, whose shape is the ``usual`` one."""

    def __init__(self, usual: LoadTestShape | None, runner: Runner) -> None:
        super().__init__()
        self.usual = usual
        self.runner = runner


def _begin_search(environment: Environment, wanted: str) -> None:
    """Starts a search for the capacity within an objective, whatever the scenario's shape. Raises settings.SettingsError."""
    runner, options = environment.runner, environment.parsed_options
    assert runner is not None
    assert options is not None
    if runner.state not in (STATE_INIT, STATE_STOPPED):
        raise settings.SettingsError("a run goes on: stop it before a search is started")
    options.objective = wanted
    if not isinstance(environment.shape_class, CapacitySearch):
        environment.shape_class = _StartedSearch(environment.shape_class, runner)
    runner.start_shape()


def _restore_shape(environment: Environment) -> None:
    if isinstance(environment.shape_class, _StartedSearch):
        environment.shape_class = environment.shape_class.usual


def _live(stream: Stream) -> None:  # Locust finds the user in its greenlet's first argument
    # A worker that joins a run may be given users before events.init.
    while _PART not in vars(stream.environment) and isinstance(stream.environment.runner, WorkerRunner):
        gevent.sleep(0.01)
    counted = _part_in(stream.environment).player
    counted.add_streams(1)
    try:
        gevent.get_hub().switch()  # sleeps until killed, without a timer
    finally:
        counted.add_streams(-1)


def _part_in(environment: Environment) -> _Session | worker.Worker:
    """This process's part in the runs of an environment, which is all that Locust gives to users and load shapes."""
    return vars(environment)[_PART]


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
    check = group.add_argument("--check", action="store_true", help="only look at the options, without the server; then end")
    check.include_in_web_ui = False


@events.init.add_listener
def _take_part(environment: Environment, **_: Any) -> None:
    table = locust_table.Table(environment.stats, lambda: "turn" if _graph() else contract.PATH)
    interrupt.raise_in_main_greenlet()
    if isinstance(environment.runner, WorkerRunner):
        part = worker.Worker(environment, _graph, table)
        vars(environment)[_PART] = part
        part.listen()
        # A worker that joins a run may be told to start before Locust lets anyone listen.
        if environment.runner.worker_state in (STATE_SPAWNING, STATE_RUNNING):
            part.catch_up()
        return
    session = _Session(environment, table)
    vars(environment)[_PART] = session
    session.prepare()
    session.listen()
    if environment.web_ui is not None:
        live_page.install(environment.web_ui, session.page, getattr(environment.parsed_options, "web_base_path", ""))


class _Session:
    """The runs of a Locust environment, one after the other, in the process that keeps them: local or master."""

    def __init__(self, environment: Environment, table: locust_table.Table) -> None:
        assert environment.runner is not None
        self._environment = environment
        self._runner = runner = environment.runner
        self._workers = workers.Workers(runner, STATE_MISSING) if isinstance(runner, MasterRunner) else None
        self._orders = orders.Orders(environment)
        self._users = users.Users(self._orders, lambda count: gevent.spawn(runner.start, count, count))
        self._intake = intake.Intake(table, self._end_hopeless, self._end_when_over)
        self._feed = feed.Feed()
        self.player = player.Player(self._intake)
        self.searching = searching.Searching(self, self._guard)
        self.page = controls.Controls(environment, self, functools.partial(_begin_search, environment))
        self.mistake = ""
        self._finished = Event()  # whoever quits waits for the report of the run before
        self._finished.set()
        self._report = ""
        self._outcome: str | None = None

    @property
    def run(self) -> keeper.Keeper | None:
        """The run that goes on."""
        return self._intake.run

    def latest(self) -> bytes:
        """The last snapshot of the run that goes on; empty before the first."""
        return self._feed.latest

    def listen(self) -> None:
        """From now on, keeps the runs that Locust starts."""
        happened = self._environment.events
        happened.test_start.add_listener(self._guard(self._on_test_start))
        happened.test_stopping.add_listener(self._guard(self._on_test_stopping))
        happened.test_stop.add_listener(self._guard(self._on_test_stop))
        happened.spawning_complete.add_listener(self._guard(self._on_spawning_complete))
        happened.quitting.add_listener(self._guard(self._on_quitting))
        happened.quit.add_listener(self._guard(self._on_quit))
        if self._workers is not None:
            self._runner.register_message(workers.ROWS, self._intake.on_rows)
            self._runner.register_message(workers.PULSE, self._intake.on_pulse)
            self._runner.register_message(workers.END, self._intake.on_end)

    def _guard(self, listener: Callable[..., None]) -> Callable[..., None]:
        return guard.guarded(listener, self._abort)

    def _abort(self, why: str, mistake: bool) -> None:
        if mistake:
            self.mistake = why
        self._outcome = verdict.INVALID
        self.searching.abort(why)
        self._stop()

    def _end_hopeless(self) -> None:
        if self.searching.goes_on:
            self.searching.end_probe_early()
        else:
            self._stop()

    def _end_when_over(self, run: keeper.Keeper) -> None:
        """At the planned end; a load shape ends its own runs."""
        awaited = run.began_with if self._workers is None else self._workers.present(run.began_with)
        if self._environment.shape_class is None and run.is_over(awaited):
            self._stop()

    def _stop(self) -> None:
        gevent.spawn(self._runner.quit if self._headless else self._runner.stop)

    @property
    def _headless(self) -> bool:
        return bool(self._environment.parsed_options and self._environment.parsed_options.headless)

    # --- before a run ------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Sets Locust's options. What could not work ends the process: one line and exit code 2.

        With the web UI that is only what its form cannot mend.
        """
        logging.getLogger("locust.runners").addFilter(lambda record: "spawn rate is very high" not in record.getMessage())
        options = self._environment.parsed_options
        if options is None:
            return
        options.enable_rebalancing = True  # the streams of a lost worker move to the others
        locust_timer.hold_back(options)
        try:
            self._users.check()
            self._users.plan()
            if not (options.headless or options.check):
                return
            wanted = self._orders.read()
            if isinstance(self._environment.shape_class, CapacitySearch):
                search.check(wanted)
            keeper.check_results(Path(wanted.results))
            if self._orders.options.check:
                admission.read(wanted, self._shaped)
                sys.exit(0)
            self._admit(wanted)
        except admission.MISTAKES as error:
            print(f"chatload: {error}", file=sys.stderr)
            sys.exit(2)

    @property
    def _shaped(self) -> bool:
        return self._environment.shape_class is not None

    def _admit(self, wanted: settings.Settings) -> admission.Admitted:
        return admission.check(wanted, _graph(), self._shaped)

    def _on_test_start(self, **_: Any) -> None:
        wanted = self._orders.read()
        self._report, self._outcome, self.mistake = "", None, ""
        if isinstance(self._environment.shape_class, CapacitySearch):
            self._orders.begin_search()
            self._admit(wanted)
            self.searching.begin(wanted, _scenario().__name__.lower())
            return
        self._orders.begin_run()
        locust_timer.hold_back_web(self._environment.web_ui, wanted.run_time_s)
        self._begin_run(wanted, self._users.settle(wanted))
        if self._workers is None:
            self._play(wanted)

    def _begin_run(self, wanted: settings.Settings, users: int) -> keeper.Keeper:
        """Opens the folder of a run of so many users, each of the stream rate that is settled."""
        admitted = self._admit(wanted)
        stream_rate = self._orders.stream_rate
        numbers = [0] if self._workers is None else self._workers.numbers
        mean_rate = self._orders.deal(wanted, users * stream_rate, numbers)
        self._intake.run = run = keeper.begin(
            wanted,
            _scenario().__name__.lower(),
            admitted.replayed,
            {keeper.LOCAL} if self._workers is None else self._workers.names,
            rate=mean_rate if arrival_spec.parse(wanted.arrivals).name == "trace" else users * stream_rate,
            stream_rate=stream_rate,
            calls=dict(_scenario().calls),
            parts=len(numbers),
            model=admitted.model,
        )
        if self._environment.web_ui is not None or self.searching.goes_on:
            self._feed.follow(run.folder)
        logger.info("Run folder: %s", run.folder)
        if self._environment.shape_class is None:  # what a shape will offer is known to nobody
            print(f"chatload: {admission.advice(wanted, admitted, mean_rate)}", flush=True)
        return run

    def _play(self, wanted: settings.Settings) -> None:
        self.player.start(wanted, _graph(), self._orders.terms, worker=0)

    # --- during a run ------------------------------------------------------------------------------------------

    def _on_spawning_complete(self, user_count: int, **_: Any) -> None:
        self.searching.note_users(user_count)
        self._intake.note_users(user_count)

    def begin_probe(self, wanted: settings.Settings) -> keeper.Keeper:
        """Starts a probe's run here, and its generators wherever they are, for the streams that there are."""
        self._orders.set_stream_rate(wanted.rate / wanted.streams)
        run = self._begin_run(wanted, wanted.streams)
        if self._workers is None:
            self._play(wanted)
        else:
            self._workers.start_probe(wanted, self._orders.stream_rate)
        return run

    def end_probe(self) -> None:
        """Drains all generators; the run is then no longer this session's."""
        self._end_generators()
        self._intake.run = None

    # --- the end of a run --------------------------------------------------------------------------------------

    def _on_test_stopping(self, **_: Any) -> None:
        self.searching.interrupt("the process was told to stop")
        self._intake.stop_watching()
        locust_timer.cancel_web(self._environment.web_ui)
        self._end_generators()

    def _end_generators(self) -> None:
        if self._workers is None:
            self.player.end()
        elif self.run is not None:
            graph = _graph()
            chain = graph.depth if graph else 1
            self._workers.end(self.run, chain * self._orders.read().timeout_s + player.DRAIN_GRACE_S)

    def _on_test_stop(self, **_: Any) -> None:
        run, self._intake.run = self._intake.run, None
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
            _restore_shape(self._environment)
            self._report, self._outcome = self.searching.close()
        if not self._headless:
            print(self._report, flush=True)

    def _on_quitting(self, **_: Any) -> None:
        self._feed.close()
        if self.searching.goes_on:
            self._runner.stop()
        elif self.run is not None:  # nothing else has stopped it: a signal has
            if not self.run.ended and self._runner.state not in ("stopping", "cleanup"):
                self.run.header["interrupted"] = "the process was told to stop (Ctrl-C or SIGTERM)"
            self._runner.stop()
        self._finished.wait(_FINISH_S)
        if self._outcome is not None:
            self._environment.process_exit_code = verdict.EXIT_CODES[self._outcome]
        elif self._headless:
            self._environment.process_exit_code = verdict.EXIT_CODES[verdict.INVALID]

    def _on_quit(self, **_: Any) -> None:
        if self._headless and self._report:
            print(self._report, flush=True)
