"""Settings: a scenario's options, read and checked. Bad ones are refused in one line before the first request."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chatload import abort, arrival_spec, contract, mix, noise, objective, session_spec
from chatload.arrivals import ArrivalsError
from chatload.units import UnitError, parse_duration_s, parse_share


class SettingsError(ValueError):
    """An option that cannot be used; the message names it, says what is wrong and what would be right."""


@dataclass(frozen=True)
class Option:
    """One scenario option: its name on the command line and in the web UI's start form, its default and its help."""

    name: str
    default: str | int | float
    help: str

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")


# Every option has a default of its own type: the web UI casts what is typed into a field to its default's type.
OPTIONS = (
    Option("rate", 0.0, "offered utterances per second in all; sets the number of users (0: users decide)"),
    Option("stream_rate", 1.0, "utterances per second of one stream (one Locust user)"),
    Option("arrivals", "poisson", f"arrival process, NAME[:key=value,...]: {arrival_spec.EXAMPLES}"),
    Option("sessions", "", f"customers who write more than once, key=value,...: {session_spec.EXAMPLES}"),
    Option("corpus", "corpus/support.tsv", "file of utterances to replay, FILE[:text=COLUMN,...]; its test split if any"),
    Option(
        "mix", "corpus", "how often each intent comes: corpus, uniform, INTENT=WEIGHT;..., or a file of intent and weight"
    ),
    Option("lengths", "", "how often each length in words comes, such as 1-4=60,5-10=30,11-=10 (empty: as in the corpus)"),
    Option("noise", "", "share of messages with noise, such as typos=0.05,case=0.2,punctuation=0.3 (empty: none)"),
    Option("repeats", "", "share of messages that repeat an earlier one exactly, 0 to 1 (empty: as drawing gives)"),
    Option("seed", 1, "seed of arrivals and utterances: same seed, same plan"),
    Option("warmup", "5s", "time at the start that is left out of the summary"),
    Option("timeout", "10s", "how long a request may take before it is given up"),
    Option("objective", "p99<250ms,errors<1%", "what the run has to show; see docs/reference/objective.md"),
    Option("abort_when", "", "what ends a hopeless run early, such as errors>50%,p50>5s for 10s (empty: nothing does)"),
    Option("results", "", "folder for this run's results (default: results/<run id>)"),
    Option("token_file", "", "file with the server's token: the token alone, or TorchServe's key_file.json"),
    Option("ca_file", "", "file of certificates that vouch for an https server, instead of the system's"),
    Option("insecure", "no", "yes: do not verify the certificate of an https server"),
    Option("probe_time", "60s", "capacity search: how long a probe may measure, if it is not decided before"),
    Option("precision", "3%", "capacity search: how near to its answer both ends of the answer's interval have to come"),
    Option("instance", "", "capacity search: the server's instance type, to price a million answers (prices.toml)"),
    Option("max_in_flight", 10_000, "requests in flight per process beyond which arrivals are dropped"),
    Option(
        "stay_awake", "no", "yes: generators never sleep, so they are more punctual; each takes a core of its own (Linux)"
    ),
)


@dataclass(frozen=True)
class Settings:
    """The checked options of a run. Rates are per second; ``run_time_s`` is 0 where the run has no planned end."""

    host: str
    rate: float
    stream_rate: float
    arrivals: str
    sessions: str
    corpus: str
    mix: str
    lengths: str
    noise: str
    repeats: str
    seed: int
    warmup_s: float
    timeout_s: float
    objective: str
    abort_when: str
    results: str
    token_file: str
    ca_file: str
    insecure: bool
    probe_time_s: float
    precision: float
    instance: str
    max_in_flight: int
    stay_awake: bool
    run_time_s: float

    @property
    def streams(self) -> int:
        """The number of streams (users) that offer ``rate``; at least one."""
        return max(round(self.rate / self.stream_rate), 1)


def read(options: Mapping[str, Any], host: str | None, run_time_s: float | None) -> Settings:
    """Settings from parsed options by name. Raises SettingsError."""
    if not host:
        raise SettingsError("no host: name the server with --host, for example --host http://127.0.0.1:8080")
    settings = Settings(
        host=host,
        rate=_number(options, "rate", zero=True),
        stream_rate=_number(options, "stream_rate"),
        arrivals=str(options["arrivals"]),
        sessions=str(options["sessions"]).strip(),
        corpus=str(options["corpus"]),
        mix=str(options["mix"]).strip(),
        lengths=str(options["lengths"]).strip(),
        noise=str(options["noise"]).strip(),
        repeats=str(options["repeats"]).strip(),
        seed=int(_number(options, "seed", zero=True, whole=True)),
        warmup_s=_duration_s(options, "warmup"),
        timeout_s=_duration_s(options, "timeout"),
        objective=str(options["objective"]),
        abort_when=str(options["abort_when"]).strip(),
        results=str(options["results"]),
        token_file=str(options["token_file"]),
        ca_file=str(options["ca_file"]),
        insecure=_yes(options, "insecure"),
        probe_time_s=_duration_s(options, "probe_time"),
        precision=_share(options, "precision"),
        instance=str(options["instance"]).strip(),
        max_in_flight=int(_number(options, "max_in_flight", whole=True)),
        stay_awake=_yes(options, "stay_awake"),
        run_time_s=float(run_time_s or 0),
    )
    try:
        contract.split_host(settings.host)
        objective.parse(settings.objective)
        arrival_spec.parse(settings.arrivals)
        session_spec.parse(settings.sessions)
    except (contract.HostError, objective.ObjectiveError, ArrivalsError) as error:
        raise SettingsError(str(error)) from error
    _check_drawing(settings)
    if settings.timeout_s <= 0:
        raise SettingsError("--timeout 0: give the answers some time, for example 10s")
    if settings.probe_time_s <= 0:
        raise SettingsError("--probe-time 0: give a probe some time, for example 60s")
    if settings.run_time_s and settings.warmup_s >= settings.run_time_s:
        raise SettingsError(
            f"--warmup {settings.warmup_s:g}s leaves nothing of --run-time {settings.run_time_s:g}s to be measured"
        )
    if settings.abort_when:
        _check_abort(settings)
    return settings


def _check_drawing(settings: Settings) -> None:
    """Refuses what no corpus could give; what this one cannot is known when it has been read."""
    checks: tuple[tuple[str, Callable[[str], Any], str], ...] = (
        ("--mix", mix.parse_intents, settings.mix if "=" in settings.mix else ""),
        ("--lengths", mix.parse_lengths, settings.lengths),
        ("--noise", noise.parse, settings.noise),
        ("--repeats", noise.parse_share, settings.repeats),
    )
    for flag, parse, text in checks:
        try:
            if text:
                parse(text)
        except (mix.MixError, noise.NoiseError) as error:
            raise SettingsError(f"{flag}: {error}") from error
    if not settings.mix:
        raise SettingsError("--mix is empty: write corpus, uniform, INTENT=WEIGHT;... or the name of a file")


def _check_abort(settings: Settings) -> None:
    try:
        window_s = abort.parse(settings.abort_when).window_s
    except abort.AbortError as error:
        raise SettingsError(f"--abort-when: {error}") from error
    left_s = settings.run_time_s - settings.warmup_s
    if settings.run_time_s and window_s >= left_s:
        raise SettingsError(
            f"--abort-when looks at {window_s:g} s, but only {left_s:g} s are measured: "
            "it could never end this run; write a shorter time behind 'for'"
        )


def _number(options: Mapping[str, Any], name: str, zero: bool = False, whole: bool = False) -> float:
    flag, value = f"--{name.replace('_', '-')}", options[name]
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise SettingsError(f"{flag} {value!r}: not a number") from None
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero) or (whole and number != int(number)):
        kind = "whole number" if whole else "number"
        raise SettingsError(f"{flag} {value}: write a {kind} {'of at least 0' if zero else 'above 0'}")
    return number


def _yes(options: Mapping[str, Any], name: str) -> bool:
    value = str(options[name]).lower()
    if value not in ("yes", "no"):
        raise SettingsError(f"--{name.replace('_', '-')} {options[name]!r}: write yes or no")
    return value == "yes"


def _share(options: Mapping[str, Any], name: str) -> float:
    flag = f"--{name.replace('_', '-')}"
    try:
        share = parse_share(str(options[name]))
    except UnitError as error:
        raise SettingsError(f"{flag}: {error}") from error
    if not share:
        raise SettingsError(f"{flag} {options[name]}: nothing is known to the last digit; write a share above 0, such as 3%")
    return share


def _duration_s(options: Mapping[str, Any], name: str) -> float:
    try:
        return parse_duration_s(str(options[name]))
    except UnitError as error:
        raise SettingsError(f"--{name.replace('_', '-')}: {error}") from error
