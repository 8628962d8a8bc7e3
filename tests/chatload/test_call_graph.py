"""The graph of a turn's calls: what is refused, what waits for what, and which calls a turn waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload.call_graph import CallGraphError, parse

ASSISTANT = {"language": [], "scope": ["language"], "intent": ["scope"], "urgency": ["scope"], "act": []}


def test_a_graph_knows_who_waits_for_whom():
    graph = parse(ASSISTANT)
    assert graph.names == ("language", "scope", "intent", "urgency", "act")
    assert graph.roots == (0, 4)
    assert graph.waits_for == ((), (0,), (1,), (1,), ())
    assert graph.followers == ((1,), (2, 3), (), (), ())
    assert graph.depth == 3


def test_a_call_named_twice_is_waited_for_once():
    assert parse({"a": [], "intent": ["a", "a"]}).waits_for == ((), (0,))


@pytest.mark.parametrize(
    ("calls", "problem"),
    [
        ({}, "none is named intent"),
        ({"language": []}, "none is named intent"),
        (["intent"], "none is named intent"),
        ({"intent": "scope", "scope": []}, "intent waits for 'scope': write a list of names"),
        ({"intent": None}, "intent waits for None"),
        ({"intent": ["scop"], "scope": []}, "intent waits for 'scop', which is none of the calls: intent, scope"),
        ({"intent": ["intent"]}, "intent wait for each other"),
        ({"a": ["b"], "b": ["intent"], "intent": ["a"], "c": []}, "a, b, intent wait for each other"),
        ({"intent": [], "a b": []}, "'a b' is not a model's name"),
        ({"intent": [], "../x": []}, "'../x' is not a model's name"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_line(calls, problem):
    with pytest.raises(CallGraphError) as caught:
        parse(calls)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_critical_path_goes_back_through_the_last_of_those_waited_for():
    graph = parse({"a": [], "b": [], "c": ["a", "b"], "intent": ["c"], "e": ["a"]})
    assert [graph.names[call] for call in graph.critical([3.0, 1.0, 5.0, 6.0, 4.0])] == ["a", "c", "intent"]
    assert [graph.names[call] for call in graph.critical([1.0, 3.0, 5.0, 6.0, 7.0])] == ["a", "e"]


@st.composite
def timed_graphs(draw):
    """A graph in which each call waits for some of those before it, and how long each call takes."""
    count = draw(st.integers(1, 8))
    names = ["intent", *(f"call{number}" for number in range(1, count))]
    calls = {name: draw(st.lists(st.sampled_from(names[:place]))) if place else [] for place, name in enumerate(names)}
    return parse(calls), draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count))


@given(timed_graphs())
def test_the_durations_on_the_critical_path_add_up_to_the_turn(case):
    graph, took = case
    done = []
    for call, others in enumerate(graph.waits_for):
        done.append(max((done[other] for other in others), default=0) + took[call])
    path = graph.critical(done)
    assert path[0] in graph.roots
    assert sum(took[call] for call in path) == max(done)
    assert len(path) <= graph.depth
