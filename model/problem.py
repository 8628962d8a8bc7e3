"""Problems: what can go wrong, by whose fault it is. The command line alone turns them into a line and a status."""

from __future__ import annotations


class UserProblem(Exception):
    """Bad usage or bad input: one line that names the input, what is wrong with it and what to do. Exit status 2."""


class BuildProblem(Exception):
    """A build or a start that failed although its input was good: one line that says why. Exit status 1."""
