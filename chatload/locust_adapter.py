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
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import gevent
import numpy as np
from locust import User, events
from locust.env import Environment
from locust.runners import STATE_MISSING, MasterRunner, WorkerRunner

from chatload import (
    abort,
    arrival_spec,
    arrivals,
    contract,
    corpus,
    corpus_file,
    duration,
    feed,
    fold,
    generator,
    live_page,
    locust_table,
    machine,
    objective,
    preflight,
    runfolder,
    samples,
    settings,
    traces,
    verdict,
)

logger = logging.getLogger("chatload")

_ROWS, _PULSE, _END, _STOP = "chatload_rows", "chatload_pulse", "chatload_end", "chatload_stop"
_DRAIN_GRACE_S = 30.0  # beyond the request timeout, for workers to hand over what they have
# Generators end a run by themselves, exactly on time. Locust's own timer started earlier than they did and must not be
# first: stopping costs it 50 ms of looking at its call stack, which would make the last arrivals late.
_STOP_AFTER_END_S = 1.0
# Everything that a user's mistake can raise; each message is one line for that user.
_MISTAKES = (
    arrivals.ArrivalsError,
    contract.HostError,
    contract.TokenError,
    corpus.CorpusError,
    preflight.PreflightError,
    runfolder.RunFolderError,
    settings.SettingsError,
)


class Stream(User):
    """One stream of arrivals. A scenario subclasses it; class attributes named like options set their defaults."""

    abstract = True
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


def _live(stream: Stream) -> None:  # Locust finds the user in its greenlet's first argument
    session = _session(stream.environment)
    session.add_streams(1)
    try:
        gevent.get_hub().switch()  # sleeps until killed, without a timer
    finally:
        session.add_streams(-1)


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
        self._generator: generator.Generator | None = None
        self._run: _Run | None = None
        self._streams = 0
        self._stream_rate = 1.0
        self._planned_rate: float | None = None
        self._end_reported = gevent.event.Event()
        self._report = ""
        self._outcome: str | None = None

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
            runner.register_message(_STOP, self._on_stop, concurrent=True)  # it drains, which takes a while

    def _guard(self, listener: Callable[..., None]) -> Callable[..., None]:
        """Locust logs what a listener raises and goes on; a run whose engine broke must not look like a good one."""

        def guarded(**keywords: Any) -> None:
            try:
                listener(**keywords)
            except _MISTAKES as error:
                logger.error(str(error))
                self.mistake = str(error)
                self._abort()
            except Exception:
                logger.exception("chatload failed; the run is invalid")
                self._abort()

        return guarded

    def _abort(self) -> None:
        self._outcome = verdict.INVALID
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
            "can_search": hasattr(self, "start_search"),
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
            self._check(wanted)
            _check_results(Path(wanted.results))
        except _MISTAKES as error:
            print(f"chatload: {error}", file=sys.stderr)
            sys.exit(2)

    def _read_settings(self) -> settings.Settings:
        options = vars(self.environment.parsed_options)
        return settings.read(options, self.environment.host, options.get("planned_run_time_s", options.get("run_time")))

    def _check(self, wanted: settings.Settings) -> tuple[dict, str, list[corpus.Utterance]]:
        """(model, split, utterances) that a run with these settings would meet. Raises one of _MISTAKES."""
        tls = generator.Tls(wanted.ca_file, wanted.insecure)
        generator.resolve(wanted.host, tls)
        self._check_arrivals(arrival_spec.parse(wanted.arrivals))
        split, utterances = corpus.choose_split(corpus_file.read(wanted.corpus))
        token = generator.read_token(wanted.token_file)
        return preflight.check(wanted.host, tls.context(), token, utterances[0].text, wanted.timeout_s), split, utterances

    def _check_arrivals(self, spec: arrival_spec.Spec) -> None:
        if spec.dealt and self.environment.shape_class is not None:
            raise arrivals.ArrivalsError(
                f"--arrivals {spec.name} plans the whole run at its start, so it cannot follow a load shape; use poisson"
            )
        traces.check(spec)

    def _on_test_start(self, **_: Any) -> None:
        wanted = self._read_settings()
        self._report, self._outcome, self.mistake = "", None, ""
        self._end_reported.clear()
        if not self.is_worker:
            self._start_run(wanted)
        if not self.is_master:
            self._start_generator(wanted)

    def _start_run(self, wanted: settings.Settings) -> None:
        model, split, utterances = self._check(wanted)
        runner = self.environment.runner
        assert runner is not None
        users, stream_rate = self._users_and_stream_rate(wanted)
        workers = set(runner.clients.keys()) if isinstance(runner, MasterRunner) else {"local"}
        parts, mean_rate = self._deal(wanted, users * stream_rate)
        started = datetime.now().astimezone()
        scenario = (Stream._scenario or Stream).__name__.lower()
        run_id = f"{started:%Y%m%d-%H%M%S}-{scenario}-{uuid4().hex[:4]}"
        header = {
            "id": run_id,
            "started": started.isoformat(timespec="seconds"),
            "scenario": scenario,
            "host": wanted.host,
            "rate": mean_rate if arrival_spec.parse(wanted.arrivals).name == "trace" else users * stream_rate,
            "stream_rate": stream_rate,
            "arrivals": wanted.arrivals,
            "seed": wanted.seed,
            "corpus": {"file": wanted.corpus, "split": split, "utterances": len(utterances)},
            "objective": wanted.objective,
            "abort_when": wanted.abort_when,
            "warmup_s": wanted.warmup_s,
            "run_time_s": wanted.run_time_s,
            "duration_s": None,
            "timeout_s": wanted.timeout_s,
            "workers": len(workers),
            "parts": parts,
            "edits": [],
            "interrupted": "",
            "aborted": "",
            "versions": machine.versions(),
            "hardware": machine.hardware(),
            "model": model,
        }
        folder = Path(wanted.results) if wanted.results else Path("results") / run_id
        self._run = _Run(folder, header, utterances, workers)
        if self.environment.web_ui is not None:
            self.feed.follow(folder)
        logger.info("Run folder: %s", folder)
        if self.environment.shape_class is None:  # what a shape will offer is known to nobody
            clauses = objective.parse(wanted.objective)
            print(f"chatload: {duration.advice(clauses, mean_rate, wanted.warmup_s, wanted.run_time_s)}", flush=True)

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
        mean_rate = traces.mean_rate(arrival_spec.parse(wanted.arrivals), rate, wanted.seed, wanted.run_time_s)
        return len(options.dealt_to), mean_rate

    def _dealt(self, wanted: settings.Settings, worker: int) -> tuple[int | None, Iterator[np.ndarray] | None]:
        """(number, arrivals) of this process's part in the run's timetable; a worker that came late has none of them."""
        spec, options = arrival_spec.parse(wanted.arrivals), self.environment.parsed_options
        assert options is not None
        if not spec.dealt:
            return None, None
        if worker not in options.dealt_to:
            logger.warning("chatload: this worker came after the run's arrivals had been dealt, and sends none of them")
            return None, iter(())
        dealt = options.dealt_to.index(worker), len(options.dealt_to)
        return dealt[0], traces.part(spec, options.dealt_rate, wanted.seed, dealt, wanted.run_time_s or math.inf)

    def _start_generator(self, wanted: settings.Settings) -> None:
        runner = self.environment.runner
        _, utterances = corpus.choose_split(corpus_file.read(wanted.corpus))
        worker = max(getattr(runner, "worker_index", 0), 0)
        part, dealt = self._dealt(wanted, worker)
        plan = generator.Plan(
            url=wanted.host,
            token_file=wanted.token_file,
            tls=generator.Tls(wanted.ca_file, wanted.insecure),
            arrivals=wanted.arrivals,
            seed=wanted.seed,
            worker=worker,
            timeout_s=wanted.timeout_s,
            max_in_flight=wanted.max_in_flight,
            run_time_s=wanted.run_time_s,
            utterances=utterances,
            dealt=dealt,
            part=part,
        )
        self._stream_rate = self.environment.parsed_options.stream_rate_exact  # type: ignore[union-attr]
        self._generator = generator.Generator(plan, self._keep, self._beat)
        self._generator.start()
        self._generator.set_streams(self._streams, self._stream_rate)

    # --- during a run ------------------------------------------------------------------------------------------

    def add_streams(self, count: int) -> None:
        self._streams += count
        if self._generator is not None:
            self._generator.set_streams(self._streams, self._stream_rate)

    def _keep(self, rows: bytes, labels: list[str]) -> None:
        """Takes rows from this process's generator: to Locust's table, and to the run folder or the master."""
        locust_table.add(self.environment.stats, contract.PATH, samples.from_bytes(rows))
        if self._run is not None:
            self._take(self._run, 0, rows, labels)
        elif self.is_worker:
            runner = self.environment.runner
            assert isinstance(runner, WorkerRunner)
            runner.send_message(_ROWS, {"worker": runner.worker_index, "rows": rows, "labels": labels})

    def _beat(self, pulse: generator.Pulse) -> None:
        if self._run is not None:
            self._run.parts.beat(0, pulse.as_json())
        elif self.is_worker:
            assert self.environment.runner is not None
            self.environment.runner.send_message(_PULSE, pulse.as_json())

    def _on_pulse(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.parts.beat(msg.data["worker"], msg.data)

    def _on_rows(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.workers.add(msg.node_id)
            self._take(self._run, msg.data["worker"], msg.data["rows"], msg.data["labels"])

    def _take(self, run: _Run, worker: int, rows: bytes, labels: list[str]) -> None:
        """Keeps reported rows, and ends the run where they say that it is hopeless."""
        run.parts.append(worker, rows, labels)
        if run.is_hopeless(rows):
            logger.warning("chatload: aborted: %s", run.header["aborted"])
            self._end_early()

    def _on_spawning_complete(self, user_count: int, **_: Any) -> None:
        if self._run is not None:
            self._run.note_users(user_count)

    # --- the end of a run --------------------------------------------------------------------------------------

    def _on_stop(self, environment: Environment, msg: Any) -> None:
        self._guard(self._end_generator)()

    def _on_end(self, environment: Environment, msg: Any) -> None:
        if self._run is not None:
            self._run.parts.end(msg.data["worker"], msg.data)
            self._run.ended.add(msg.node_id)

    def _on_test_stopping(self, **_: Any) -> None:
        if self._run is not None:
            self._run.watch = None
        if self.is_master:
            self._end_workers()
        else:
            self._end_generator()

    def _end_generator(self) -> None:
        """Drains this process's generator, once; a second caller waits until the first is done."""
        ending, self._generator = self._generator, None
        if ending is None:
            self._end_reported.wait(_DRAIN_GRACE_S)
            return
        ending.stop()
        facts = ending.facts.as_json()
        if self._run is not None:
            self._run.parts.end(0, facts)
        elif self.is_worker:
            assert self.environment.runner is not None
            self.environment.runner.send_message(_END, facts)
        self._end_reported.set()

    def _end_workers(self) -> None:
        """Has all workers end their generators, and waits until each has said so, is lost, or takes far too long."""
        run, runner = self._run, self.environment.runner
        if run is None or not isinstance(runner, MasterRunner):
            return
        runner.send_message(_STOP)
        deadline = time.monotonic() + self._read_settings().timeout_s + _DRAIN_GRACE_S

        def awaited() -> set[str]:
            alive = {client.id for client in runner.clients.values() if client.state != STATE_MISSING}
            return (run.workers & alive) - run.ended

        while awaited() and time.monotonic() < deadline:
            gevent.sleep(0.02)

    def _on_test_stop(self, **_: Any) -> None:
        run, self._run = self._run, None
        if run is None:
            return
        self._report = run.finish()
        self._outcome = fold.outcome(run.folder)
        if not self._headless:
            print(self._report, flush=True)

    def _on_quitting(self, **_: Any) -> None:
        self.feed.close()
        runner = self.environment.runner
        assert runner is not None
        if self._run is not None:  # neither Locust's timer nor the web UI has stopped it: a signal has
            if not self._run.ended and runner.state not in ("stopping", "cleanup"):
                self._run.header["interrupted"] = "the process was told to stop (Ctrl-C or SIGTERM)"
            runner.stop()
        if self.is_worker:
            self._end_generator()
            self.environment.process_exit_code = 0
        elif self._outcome is not None:
            self.environment.process_exit_code = verdict.EXIT_CODES[self._outcome]
        elif self._headless:
            self.environment.process_exit_code = verdict.EXIT_CODES[verdict.INVALID]

    def _on_quit(self, **_: Any) -> None:
        if self._headless and self._report:
            print(self._report, flush=True)


class _Run:
    """The run folder of a run that goes on, kept by the process that is local or master."""

    def __init__(self, folder: Path, header: dict, utterances: list[corpus.Utterance], workers: set[str]) -> None:
        runfolder.create(folder, header, utterances)
        self.folder = folder
        self.header = header
        self.workers = workers
        self.ended: set[str] = set()
        self.parts = runfolder.Parts(folder)
        rule = abort.parse(header["abort_when"]) if header["abort_when"] else None
        self.watch = abort.Watch(rule, header["warmup_s"]) if rule else None
        self._started_s = time.perf_counter()
        self._users: int | None = None

    def note_users(self, users: int) -> None:
        """Marks a change of the number of users after the first ones have started: the rate was edited."""
        changed = self._users is not None and users != self._users
        if changed and arrival_spec.parse(self.header["arrivals"]).dealt:
            logger.warning("chatload: the arrivals were planned at the start; they do not follow the number of users")
        elif changed:
            self.header["edits"].append([round(time.perf_counter() - self._started_s, 3), users])
            runfolder.write_json(self.folder, self.header, None, None)
        self._users = users

    def is_hopeless(self, rows: bytes) -> bool:
        """Whether rows just reported call for an end of the run; the header then says why, and nobody is asked again."""
        now_s = time.perf_counter() - self._started_s
        if self.watch is None or now_s >= (self.header["run_time_s"] or math.inf):
            return False
        self.header["aborted"] = self.watch.see(samples.from_bytes(rows), now_s)
        if self.header["aborted"]:
            self.watch = None
        return bool(self.header["aborted"])

    def finish(self) -> str:
        """Folds the run's parts in a process of its own (it may need much memory); returns the report."""
        self.parts.close()
        self.header["workers"] = len(self.workers)
        runfolder.write_json(self.folder, self.header, None, None)
        command = [sys.executable, "-m", "chatload", "report", str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.stderr:
            logger.error(done.stderr.strip())
        return done.stdout


def _check_results(folder: Path) -> None:
    if str(folder) != "." and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise runfolder.RunFolderError(f"results folder {folder} exists and is not empty: name another with --results")
