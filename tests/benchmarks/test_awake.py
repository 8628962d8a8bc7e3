"""The request that keeps cores awake: held while the command runs, and refused in one line where it cannot be made."""

from __future__ import annotations

import sys

import pytest

from benchmarks import awake


def test_a_latency_of_zero_is_asked_for_while_the_command_runs_and_its_status_is_returned(tmp_path, monkeypatch):
    interface = tmp_path / "cpu_dma_latency"
    monkeypatch.setattr(awake, "INTERFACE", interface)
    look = f"import sys; sys.exit(7 if open({str(interface)!r}, 'rb').read() == bytes(4) else 1)"
    monkeypatch.setattr(sys, "argv", ["awake", sys.executable, "-c", look])
    assert awake.main() == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [([], "name a command"), (["true"], "cannot be written: No such file or directory; this needs Linux")],
)
def test_what_cannot_be_done_is_one_line(arguments, said, tmp_path, monkeypatch):
    monkeypatch.setattr(awake, "INTERFACE", tmp_path / "nowhere" / "cpu_dma_latency")
    monkeypatch.setattr(sys, "argv", ["awake", *arguments])
    with pytest.raises(SystemExit, match=said) as ended:
        awake.main()
    assert "\n" not in str(ended.value)
