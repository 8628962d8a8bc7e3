"""The option --sessions: read with its defaults, or refused in one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import session_spec
from chatload.arrivals import ArrivalsError


def test_no_sessions_are_asked_for_by_an_empty_option():
    assert session_spec.parse("") is None


def test_what_is_not_given_has_its_default():
    generator = np.random.default_rng(1)
    law = session_spec.parse("default")
    assert law.mean_turns == 2.1
    assert law.pauses(generator, 400_000).mean() == pytest.approx(150, rel=0.02)
    law = session_spec.parse("think=10s,think_dist=constant,answer=500ms")
    assert law.mean_turns == 2.1
    assert set(law.pauses(generator, 3).tolist()) == {10.5}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("turn=3", "there is no 'turn'; it takes turns, turns_cv, turns_dist, think, think_cv, think_dist, answer"),
        ("turns", "'turns' is not a key=value of its own"),
        ("turns=many", "turns: 'many' is not a number"),
        ("turns=0.5", "turns=0.5: write a mean of 1 to 100"),
        ("turns=nan", "turns=nan: write a mean of 1 to 100"),
        ("turns=1", "turns=1 is no session of several turns"),
        ("turns=2.5,turns_cv=0.1", "turns_cv=0.1: with a mean of 2.5 turns it is 0.2 to"),
        ("turns=2.5,turns_cv=nan", "turns_cv=nan: with a mean"),
        ("turns_dist=normal", "turns_dist is one of lognormal, geometric, constant"),
        ("turns=3,turns_dist=geometric,turns_cv=1", "turns_cv is for lognormal; geometric has one of its own"),
        ("turns=3.5,turns_dist=constant", "turns=3.5: with turns_dist=constant it is a whole number"),
        ("think=soon", "think: 'soon' is not a duration"),
        ("think=0s", "think=0s: nobody writes at the moment of the answer"),
        ("think_cv=0", "think_cv=0: write a number above 0"),
        ("think_dist=exponential,think_cv=2", "think_cv is for lognormal; exponential has one of its own"),
        ("answer=-1s", "answer: '-1s' is not a duration"),
    ],
)
def test_a_mistake_is_named_in_one_line(text, says):
    with pytest.raises(ArrivalsError) as caught:
        session_spec.parse(text)
    message = str(caught.value)
    assert message.startswith(f"--sessions {text!r}: ")
    assert says in message
    assert "\n" not in message


@given(st.text(alphabet="turnsthikcvd_=,.0123456789sm", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        law = session_spec.parse(text)
    except ArrivalsError as error:
        assert "--sessions" in str(error)  # noqa: PT017
    else:
        assert law is None or law.mean_turns >= 1
