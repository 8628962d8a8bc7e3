from __future__ import annotations

import pytest

from chatload import conditions

RUN = {
    "rate": 50.0,
    "arrivals": "poisson",
    "seed": 1,
    "duration_s": 60.0,
    "corpus": {"file": "a.tsv", "split": "test", "utterances": 9},
    "objective": "p99<1s,errors<1%",
    "model": {"name": "minilm", "version": "1"},
}


def corpus(sha256: str = "", file: str = "a.tsv") -> dict:
    return {"corpus": {"file": file, "split": "test", "utterances": 9} | ({"sha256": sha256} if sha256 else {})}


def timers(*names: str) -> dict:
    return {"generators": [{"timer": name} for name in names]}


def differ(a: dict, b: dict, **keywords) -> list[str]:
    return conditions.differences(conditions.of(RUN | a), conditions.of(RUN | b), **keywords)


@pytest.mark.parametrize(
    ("a", "b", "named"),
    [
        ({}, {"rate": 60.0}, ["rate: 50/s against 60/s"]),
        (
            {},
            {"model": None, "arrivals": "constant"},
            ["model: minilm against unknown", "arrivals: poisson against constant"],
        ),
        ({}, {"objective": "errors<1%, p99<1s", "seed": 2, "host": "elsewhere"}, []),
        (timers("timerfd", "timerfd"), timers("timerfd"), []),
        (timers("timerfd"), timers("timerfd, awake"), ["generator's timer: timerfd against timerfd, awake"]),
        ({}, corpus(file="b.tsv"), ["corpus: a.tsv (split test, 9 utterances) against b.tsv (split test, 9 utterances)"]),
        (corpus("ab12"), corpus("ab12", "moved.tsv"), []),
        (corpus("ab12"), corpus(), []),
        (
            corpus(),
            corpus("ab12", "b.tsv"),
            ["corpus: a.tsv (split test, 9 utterances) against b.tsv (split test, 9 utterances)"],
        ),
        (
            corpus("ab12"),
            corpus("cd34"),
            [
                "corpus: a.tsv (split test, 9 utterances) with sha256 ab12 against "
                "a.tsv (split test, 9 utterances) with sha256 cd34"
            ],
        ),
    ],
)
def test_what_must_be_alike_is_named_where_it_is_not(a, b, named):
    assert differ(a, b) == named


def test_a_plain_run_has_nothing_unusual_and_every_choice_of_another_is():
    assert conditions.unusual(conditions.of(RUN)) == {}
    choices = {"mix": "uniform", "lengths": "short", "noise": "typos=5%", "repeats": "20%"}
    calls = {"language": [], "intent": ["language"]}
    found = conditions.unusual(conditions.of(RUN | choices | {"calls": calls} | timers("timerfd, awake")))
    assert found == choices | {"calls": "language, intent after language", conditions.TIMER: "timerfd, awake"}
    always_named = {"measured", "corpus", "content of the corpus", "model", "objective", "rate", "arrivals", "sessions"}
    assert set(conditions.of(RUN)) == always_named | set(found)


def test_a_condition_may_be_left_out():
    assert differ({}, {"rate": 60.0}, apart_from=["rate"]) == []


def test_what_was_measured_comes_first():
    in_process = {"measured": "the model in process", "corpus": "c.tsv", "model": "minilm"}
    assert conditions.differences(in_process, conditions.of(RUN)) == ["measured: the model in process against a served run"]


def test_a_run_of_few_bursts_is_the_load_of_its_seed():
    few, many = ({"arrivals": "onoff:peak=2,on=2s,off=4s", "duration_s": seconds} for seconds in (179.0, 180.0))
    for run, alike in ((few, False), (many, True), ({"arrivals": "gamma"}, True)):
        a, b = (conditions.of_single(RUN | run | {"seed": seed}) for seed in (1, 2))
        assert (conditions.differences(a, b) == []) == alike
        assert conditions.differences(a, conditions.of_single(RUN | run)) == []
    assert "seed 1 (few bursts in 2 min 59 s)" in conditions.of_single(RUN | few)["arrivals"]
