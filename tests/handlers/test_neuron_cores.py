"""NeuronCores: one a process, and no process without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import machine
import neuron_cores
import pytest
from hypothesis import given
from hypothesis import strategies as st
from missing_device import MissingDevice

HANDLERS = Path(neuron_cores.__file__).parent
CLAIM = """
import os, sys
sys.path.insert(0, {handlers!r})
import neuron_cores
from missing_device import MissingDevice
try:
    first, again = neuron_cores.claim_core("inf1"), neuron_cores.claim_core("inf1")
    print(first, again, os.environ["NEURON_RT_VISIBLE_CORES"], flush=True)
except MissingDevice as missing:
    print(missing, flush=True)
sys.stdin.read()
"""


@given(st.lists(st.integers(0, 127), min_size=1))
def test_cores_are_read_as_they_are_written(cores):
    assert neuron_cores.parse_cores(neuron_cores.format_cores(cores)) == cores


@pytest.mark.parametrize(("text", "cores"), [("2", [2]), ("0-3", [0, 1, 2, 3]), ("0,2-3", [0, 2, 3])])
def test_numbers_and_inclusive_ranges_are_read_as_the_runtime_does(text, cores):
    assert neuron_cores.parse_cores(text) == cores


@pytest.mark.parametrize("text", ["x", "1-", ",", "0;1"])
def test_a_list_that_is_none_is_refused_by_name(text):
    with pytest.raises(MissingDevice, match="NEURON_RT_VISIBLE_CORES=.*not a list of cores"):
        neuron_cores.parse_cores(text)


@pytest.mark.parametrize(("target", "cores"), [("inf1", [0, 1, 2, 3]), ("inf2", [0, 1])])
def test_the_machine_s_cores_are_those_of_its_chips(tmp_path, monkeypatch, target, cores):
    machine.neuron_folder(tmp_path, 4)
    (tmp_path / "dev" / "neuron_other").touch()
    monkeypatch.setattr(neuron_cores, "DEVICES", tmp_path / "dev")
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    assert neuron_cores.visible_cores(target) == cores
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "1-2")
    assert neuron_cores.visible_cores(target) == [1, 2]


@pytest.fixture
def claim(tmp_path):
    """Start processes that each claim a core and hold it; they share nothing with other tests."""
    started = []

    def start(cores):
        environment = {"TMPDIR": str(tmp_path), "NEURON_RT_VISIBLE_CORES": cores}
        child = subprocess.Popen(
            [sys.executable, "-c", CLAIM.format(handlers=str(HANDLERS))],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child, child.stdout.readline().strip()

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_each_process_gets_a_core_of_its_own_and_a_dead_one_s_is_free_again(claim):
    first, said = claim("2-3")
    assert said == "2 2 2"
    assert claim("2-3")[1] == "3 3 3"
    assert claim("2-3")[1] == "every NeuronCore of 2,3 has a worker already; start no more workers than cores"
    first.kill()
    first.wait()
    assert claim("2-3")[1] == "2 2 2"


def test_a_machine_without_a_chip_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(neuron_cores, "DEVICES", tmp_path)
    monkeypatch.setattr(neuron_cores, "_held", {})
    monkeypatch.delenv("NEURON_RT_VISIBLE_CORES", raising=False)
    with pytest.raises(MissingDevice, match="no Inferentia for the target inf1: there is no .*/neuron0"):
        neuron_cores.claim_core("inf1")
