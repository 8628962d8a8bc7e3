"""Session spec: the option that says what sessions are like: key=value,key=value, or "default"."""

from __future__ import annotations

from dataclasses import dataclass

from chatload import sessions
from chatload.arrival_spec import pairs
from chatload.arrivals import ArrivalsError
from chatload.units import UnitError, parse_duration_s

# Fitted to the first 400 rows of BurstGPT_3 (Wang et al., KDD 2025, CC BY 4.0), sessions parted at pauses of more than ten
# minutes: docs/reference/sessions.md says how.
_DEFAULTS = {
    "turns": "2.1",
    "turns_cv": "1.1",
    "turns_dist": "lognormal",
    "think": "150s",
    "think_cv": "1.7",
    "think_dist": "lognormal",
    "answer": "0s",
}
EXAMPLES = "default; turns=3.2,turns_cv=0.8,think=24s,think_cv=1.5; turns=4,turns_dist=geometric,think=10s,answer=200ms"


def parse(text: str) -> sessions.Law | None:
    """The law that an option names; None for an empty one, a run without sessions. Raises ArrivalsError."""
    if not text:
        return None
    given = {} if text == "default" else pairs("--sessions", text, text, EXAMPLES)
    unknown = sorted(set(given) - set(_DEFAULTS))
    if unknown:
        raise ArrivalsError(f"--sessions {text!r}: there is no {unknown[0]!r}; it takes {', '.join(_DEFAULTS)}")
    option = _Option(text, given)
    turns_dist = option.choice("turns_dist", sessions.TURNS)
    think_dist = option.choice("think_dist", sessions.THINKS)
    option.refuse_cv("turns_cv", turns_dist)
    option.refuse_cv("think_cv", think_dist)
    try:
        return sessions.law(
            sessions.TURNS[turns_dist](option.number("turns"), option.number("turns_cv")),
            sessions.THINKS[think_dist](option.seconds("think"), option.number("think_cv")),
            option.seconds("answer"),
        )
    except (UnitError, ArrivalsError) as error:
        raise ArrivalsError(f"--sessions {text!r}: {error}") from error


@dataclass(frozen=True)
class _Option:
    """The option's text, and what it gives by key; a key that is not given has its default."""

    text: str
    given: dict[str, str]

    def choice(self, key: str, known: dict) -> str:
        value = self.given.get(key, _DEFAULTS[key])
        if value not in known:
            raise ArrivalsError(f"--sessions {self.text!r}: {key} is one of {', '.join(known)}")
        return value

    def refuse_cv(self, key: str, distribution: str) -> None:
        if key in self.given and distribution != "lognormal":
            raise ArrivalsError(f"--sessions {self.text!r}: {key} is for lognormal; {distribution} has one of its own")

    def number(self, key: str) -> float:
        value = self.given.get(key, _DEFAULTS[key])
        try:
            return float(value)
        except ValueError:
            raise UnitError(f"{key}: {value!r} is not a number") from None

    def seconds(self, key: str) -> float:
        try:
            return parse_duration_s(self.given.get(key, _DEFAULTS[key]))
        except UnitError as error:
            raise UnitError(f"{key}: {error}") from error
