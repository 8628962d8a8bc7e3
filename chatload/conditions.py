"""Conditions: what two measurements must have in common for their difference to be the server's.

One notion for all who hold runs against each other: compare and history ask for every condition, cost for all but the rate.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from chatload import arrival_spec, objective
from chatload.units import format_duration

TIMER = "generator's timer"
# What a plain run has of the conditions that only some runs choose.
_USUAL = {
    "calls": ("one",),
    "mix": ("corpus",),
    "lengths": ("none",),
    "noise": ("none",),
    "repeats": ("none",),
    TIMER: ("timerfd", "unknown"),
}
_CONTENT = "content of the corpus"
_BURSTS = 30  # a run of fewer is the load of its seed, not yet of its process (docs/decisions/0206)


def of(run: Mapping) -> dict[str, str]:
    """The conditions of a served run, from the header in its run.json.

    Raises KeyError, TypeError, AttributeError, objective.ObjectiveError or arrivals.ArrivalsError for what is none.
    """
    corpus, model = run["corpus"], run["model"]
    return {
        "measured": "a served run",
        "corpus": f"{corpus['file']} (split {corpus['split']}, {corpus['utterances']} utterances)",
        _CONTENT: corpus.get("sha256", ""),
        "model": model["name"] if model else "unknown",
        "objective": ",".join(sorted(clause.text for clause in objective.parse(run["objective"]))),
        "rate": f"{run['rate']:g}/s",
        "arrivals": run["arrivals"],
        "calls": ", ".join(_call(name, others) for name, others in run.get("calls", {}).items()) or "one",
        "sessions": run.get("sessions") or "none",
        "mix": run.get("mix") or "corpus",  # earlier versions knew no other
        **{name: run.get(name) or "none" for name in ("lengths", "noise", "repeats")},
        # What a generator's timer is late by is part of every latency.
        TIMER: " and ".join(sorted({facts["timer"] for facts in run.get("generators", []) if "timer" in facts}))
        or "unknown",
    }


def _call(name: str, others: list[str]) -> str:
    return f"{name} after {' and '.join(others)}" if others else name


def unusual(found: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's conditions that a plain run has otherwise."""
    return {name: found[name] for name, usual in _USUAL.items() if found[name] not in usual}


def of_single(run: Mapping) -> dict[str, str]:
    """The same of a run that is not repeated: where it saw but few bursts, only a run with its seed had the same load."""
    spec, found = arrival_spec.parse(run["arrivals"]), of(run)
    if spec.name == "onoff" and run["duration_s"] < _BURSTS * (spec.numbers["on"] + spec.numbers["off"]):
        measured = format_duration(run["duration_s"])
        found["arrivals"] += f", seed {run['seed']} (few bursts in {measured})"
    return found


def differences(a: Mapping[str, str], b: Mapping[str, str], apart_from: Collection[str] = ()) -> list[str]:
    """In what two measurements differ, for people; empty when they can be held against each other.

    A corpus is its content where both know that, and else its file's name, split and length.
    """
    names = ["measured"] if a["measured"] != b["measured"] else [name for name in a if name not in (*apart_from, _CONTENT)]
    pairs = [(name, *_pair(name, a, b)) for name in names]
    return [f"{name}: {first} against {second}" for name, first, second in pairs if first != second]


def _pair(name: str, a: Mapping[str, str], b: Mapping[str, str]) -> tuple[str, str]:
    contents = a.get(_CONTENT), b.get(_CONTENT)
    if name != "corpus" or not all(contents):
        return a[name], b[name]
    if contents[0] == contents[1]:
        return "", ""
    return f"{a[name]} with sha256 {contents[0]}", f"{b[name]} with sha256 {contents[1]}"
