"""The command line's own help: what it shows can be typed as it stands."""

from __future__ import annotations

import re

import pytest

from chatload import cli, settings

COMMANDS = ["report", "capacity", "compare", "cost", "forecast", "plan", "history", "describe", "watch", "options"]


def printed_help(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_help_names_every_command(capsys):
    assert re.findall(r"^    (\w+) ", printed_help(capsys), re.M) == COMMANDS


@pytest.mark.parametrize("arguments", [["forecast", "results/x"], ["forecast", "x", "--rate", "abc"], ["no-such"], []])
def test_a_wrong_option_is_one_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("chatload: ")
    assert line.endswith("--help has the options\n")
    assert line.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_is_what_can_be_typed(command, capsys):
    shown = printed_help(capsys, command)
    options, _, example = shown.partition("example: chatload ")
    assert example.split()[0] == command
    assert "%%" not in shown
    for flag in re.findall(r"--[\w-]+", example):
        assert re.search(rf"^  {flag}\b", options, re.M), flag


def test_a_scenario_s_options_are_listed_with_their_defaults(capsys):
    cli.main(["options"])
    listed = " ".join(capsys.readouterr().out.split())
    for option in settings.OPTIONS:
        assert f"{option.flag} ... {option.help}" in listed
    assert "what the run has to show; see docs/reference/objective.md [p99<250ms,errors<1%]" in listed
