"""Arrival spec: the option that names an arrival process: NAME or NAME:key=value,key=value."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from chatload import timetable
from chatload.arrivals import ArrivalsError
from chatload.units import UnitError, parse_duration_s

STEERED = ("poisson", "constant")  # played at the rate of the streams at every moment, by each process its own
_STATIONARY = (*STEERED, "gamma")


@dataclass(frozen=True)
class Spec:
    """An arrival process and its keys, as numbers (durations in seconds) or text."""

    name: str
    numbers: dict[str, float]
    texts: dict[str, str]

    @property
    def dealt(self) -> bool:
        """Whether it is planned as one timetable for the whole run, of which each generator process sends its part."""
        return self.name not in STEERED

    @property
    def stationary(self) -> bool:
        """Whether its rate is the same at all times, so that a load that changes is the server's doing."""
        return self.name in _STATIONARY


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UnitError(f"{text!r} is not a number above 0")
    return number


def _time_above_zero(text: str) -> float:
    seconds = parse_duration_s(text)
    if not seconds:
        raise UnitError(f"{text!r}: write a time above 0")
    return seconds


@dataclass(frozen=True)
class _Key:
    default: str
    read: Callable[[str], float] | None = None  # None: text


_KEYS: dict[str, dict[str, _Key]] = {
    "poisson": {},
    "constant": {},
    "gamma": {"cv": _Key("2", _number)},
    "onoff": {"peak": _Key("5", _number), "on": _Key("10s", _time_above_zero), "off": _Key("50s", _time_above_zero)},
    "profile": {
        "file": _Key("corpus/day.txt"),
        "span": _Key("24h", _time_above_zero),
        "speed": _Key("1", _number),
        "start": _Key("0s", parse_duration_s),
    },
    "trace": {
        "file": _Key(""),
        "column": _Key(""),
        "speed": _Key("1", _number),
        "scale": _Key("1", _number),
        "start": _Key("0s", parse_duration_s),
        "end": _Key("", parse_duration_s),
    },
}
EXAMPLES = "poisson; constant; gamma:cv=3; onoff:peak=5,on=10s,off=50s; profile:speed=24; trace:file=TRACE.csv,speed=10"


def parse(text: str) -> Spec:
    """The process that an option names. Raises ArrivalsError, which says what was asked and what exists."""
    name, _, rest = text.partition(":")
    if name not in _KEYS:
        raise ArrivalsError(f"--arrivals {text!r}: choose one of {', '.join(_KEYS)}; for example {EXAMPLES}")
    given = pairs("--arrivals", text, rest, EXAMPLES)
    unknown = sorted(set(given) - set(_KEYS[name]))
    if unknown:
        known = ", ".join(_KEYS[name]) or "nothing"
        raise ArrivalsError(f"--arrivals {text!r}: {name} knows no {unknown[0]!r}; it takes {known}")
    spec = Spec(name, {}, {})
    for key, kind in _KEYS[name].items():
        _read(spec, text, key, given.get(key, kind.default), kind)
    _check(spec, text)
    return spec


def pairs(flag: str, text: str, rest: str, examples: str) -> dict[str, str]:
    """The key=value,... in ``rest``, a part of the ``text`` of the option ``flag``. Raises ArrivalsError."""
    given: dict[str, str] = {}
    for pair in rest.split(",") if rest else []:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not key or not equals or not value or key in given:
            raise ArrivalsError(f"{flag} {text!r}: {pair!r} is not a key=value of its own; for example {examples}")
        given[key] = value
    return given


def _read(spec: Spec, text: str, key: str, value: str, kind: _Key) -> None:
    if kind.read is None:
        spec.texts[key] = value
        return
    try:
        spec.numbers[key] = kind.read(value) if value else math.inf
    except UnitError as error:
        raise ArrivalsError(f"--arrivals {text!r}: {key}: {error}") from error


def _check(spec: Spec, text: str) -> None:
    numbers = spec.numbers
    if spec.name == "onoff" and timetable.calm_share(numbers["peak"], numbers["on"], numbers["off"]) < -1e-9:
        most = 1 + numbers["off"] / numbers["on"]
        raise ArrivalsError(f"--arrivals {text!r}: bursts alone would exceed the mean rate; peak is at most {most:g} here")
    if spec.name == "onoff" and numbers["peak"] < 1:
        raise ArrivalsError(f"--arrivals {text!r}: a burst below the mean rate is none; write a peak of at least 1")
    if spec.name == "trace" and not spec.texts["file"]:
        raise ArrivalsError(f"--arrivals {text!r}: name the file, for example trace:file=TRACE.csv,column=timestamp")
    if spec.name == "trace" and numbers["end"] <= numbers["start"]:
        raise ArrivalsError(f"--arrivals {text!r}: the window ends before it starts")
