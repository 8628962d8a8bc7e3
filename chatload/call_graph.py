"""Call graph: the model calls of one turn, as data: the name of each call with the calls that it waits for.

    {"language": [], "scope": ["language"], "intent": ["scope"], "urgency": ["scope"]}

A call is sent when all that it waits for have answered; those that wait for nothing are sent at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatload import contract

CHECKED = contract.MODEL  # the call whose answer is held against the corpus
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class CallGraphError(ValueError):
    """Calls that are no graph; the message names the call and says what is wrong."""


@dataclass(frozen=True)
class CallGraph:
    """Calls by their number, which is their place in ``names``: which ones each waits for, and which ones wait for it.

    ``depth`` is how many calls the longest chain has.
    """

    names: tuple[str, ...]
    waits_for: tuple[tuple[int, ...], ...]
    followers: tuple[tuple[int, ...], ...]
    depth: int

    @property
    def roots(self) -> tuple[int, ...]:
        """The calls that wait for nothing."""
        return tuple(call for call, others in enumerate(self.waits_for) if not others)

    def critical(self, done_s: Sequence[float]) -> list[int]:
        """The calls that the turn waited for, first to last, given when each call was done.

        From the call that was done last back, through the last of those that each one waited for.
        """
        call = max(range(len(self.names)), key=done_s.__getitem__)
        path = [call]
        while self.waits_for[call]:
            call = max(self.waits_for[call], key=done_s.__getitem__)
            path.append(call)
        return path[::-1]


def parse(calls: Mapping[str, Sequence[str]]) -> CallGraph:
    """The graph of calls declared as in the module's example. Raises CallGraphError."""
    if not isinstance(calls, Mapping) or CHECKED not in calls:
        raise CallGraphError(f"calls: none is named {CHECKED}, the one whose answer is checked against the corpus")
    number = {name: place for place, name in enumerate(calls)}
    for name, others in calls.items():
        _check(name, others, number)
    waits_for = tuple(tuple(number[other] for other in dict.fromkeys(others)) for others in calls.values())
    followers = tuple(tuple(n for n, others in enumerate(waits_for) if place in others) for place in range(len(number)))
    return CallGraph(tuple(number), waits_for, followers, _depth(tuple(number), waits_for))


def _check(name: str, others: Sequence[str], known: Mapping[str, int]) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise CallGraphError(f"calls: {name!r} is not a model's name: letters, digits, and _ . - after the first")
    if isinstance(others, str) or not isinstance(others, Sequence):
        raise CallGraphError(f"calls: {name} waits for {others!r}: write a list of names, [] for none")
    for other in others:
        if other not in known:
            raise CallGraphError(f"calls: {name} waits for {other!r}, which is none of the calls: {', '.join(known)}")


def _depth(names: Sequence[str], waits_for: Sequence[Sequence[int]]) -> int:
    """How many calls the longest chain has; raises CallGraphError where calls wait for each other."""
    left = set(range(len(names)))
    depth = 0
    while left:
        free = {call for call in left if not left & set(waits_for[call])}
        if not free:
            raise CallGraphError(f"calls: {', '.join(names[call] for call in sorted(left))} wait for each other")
        left -= free
        depth += 1
    return depth
