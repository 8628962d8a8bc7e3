"""A stand-in server has its port to itself, unless it was told to share it."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

import pytest

from tests.conftest import ROOT


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and message of a stand-in that does not start."""
    command = [sys.executable, "-m", "benchmarks.stand_in", "null", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr.splitlines()[-1]


def port_of(url: str) -> str:
    return url.rpartition(":")[2]


@pytest.mark.parametrize("sharing", [(), ("--share",)], ids=["own", "shared"])
def test_a_port_that_another_has_is_refused(stand_in, sharing):
    port = port_of(stand_in("null"))
    assert refused("--port", port, *sharing) == (
        2,
        f"stand_in: --port {port}: Address already in use; name another, or 0 for a free one",
    )


def test_a_number_that_is_no_port_is_refused():
    code, message = refused("--port", "65536")
    assert code == 2
    assert message.endswith("--port 65536: a port is 0 to 65535")


def test_two_that_are_told_to_share_a_port(stand_in):
    url = stand_in("null", "--share")
    assert stand_in("null", "--share", "--port", port_of(url)) == url
    assert b"out_of_scope" in urllib.request.urlopen(url, b"{}", timeout=5).read()
