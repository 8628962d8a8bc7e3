from __future__ import annotations

import re
import sys

import pytest

from chatload import admission, settings, timer


def read(**options: str) -> settings.Settings:
    defaults = {option.name: option.default for option in settings.OPTIONS}
    return settings.read({**defaults, **options}, "http://127.0.0.1:1", 60)


def test_how_messages_are_drawn_is_as_it_was_unless_told():
    found = read()
    assert (found.mix, found.lengths, found.noise, found.repeats) == ("corpus", "", "", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": " "}, "--mix is empty: write corpus, uniform"),
        ({"mix": "order=much"}, "--mix: intent 'order' has the weight 'much'"),
        ({"lengths": "1-4"}, "--lengths: 1-4 has the weight ''"),
        ({"noise": "typos=2"}, "--noise: 2 is not from 0 to 1"),
        ({"repeats": "30%"}, "--repeats: '30%' is no number; a share is one from 0 to 1"),
    ],
)
def test_drawing_that_no_corpus_could_give_is_refused_with_its_option(options, message):
    with pytest.raises(settings.SettingsError, match=re.escape(message)):
        read(**options)


@pytest.mark.parametrize("name", ["insecure", "stay_awake"])
def test_a_switch_is_yes_or_no(name):
    assert [getattr(read(**{name: value}), name) for value in ("yes", "no", "Yes")] == [True, False, True]
    with pytest.raises(settings.SettingsError, match=re.escape(f"--{name.replace('_', '-')} 'maybe': write yes or no")):
        read(**{name: "maybe"})


def test_staying_awake_is_refused_where_there_is_no_timer_for_it(monkeypatch):
    wanted = read(stay_awake="yes")
    monkeypatch.setattr(sys, "platform", "linux")
    assert admission.read(wanted, shaped=False).utterances
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(timer.TimerError, match="--stay-awake yes: only Linux"):
        admission.read(wanted, shaped=False)
    with pytest.raises(timer.TimerError, match="--stay-awake yes: only Linux"):  # a worker's, elsewhere than its master
        timer.make(None, lambda: None, awake=True)
