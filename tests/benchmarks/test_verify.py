"""The acceptance: every step's command and words end up in the evidence, and nothing that was left out counts as passed."""

from __future__ import annotations

import sys
import zipfile

import pytest

from benchmarks import verify
from benchmarks.verify import Step


def options(**changes):
    made = verify.parse(["--target", "inf2", "--model", "minilm"])
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_step_keeps_its_status_and_all_that_it_said(capsys):
    code = "import sys; print('to stdout'); print('to stderr', file=sys.stderr); sys.exit(3)"
    step = verify.run_step("name", [sys.executable, "-c", code])
    assert (step.status, step.outcome) == (3, "failed (3)")
    assert {"to stdout", "to stderr"} <= set(step.output.splitlines())


def test_the_plan_serves_and_loads_the_target(tmp_path):
    steps = dict(verify.plan(options(), tmp_path))
    assert list(steps) == ["compile and parity", "in-process benchmark", "serve", "contract", "open-loop run"]
    assert steps["serve"][:3] == ["make", "serve-inf2", "TARGET=inf2"]
    assert f"RESULTS={tmp_path}" in steps["open-loop run"]


@pytest.fixture
def ran(tmp_path):
    """A runner that gives each step the status named for it, 0 to the rest, and says an archive's path last, as a build."""
    archive = tmp_path / "intent.mar"
    with zipfile.ZipFile(archive, "w") as mar:
        mar.writestr("artefact.json", '{"parity": {"agreement": 0.996}}')

    def named(statuses):
        said = "{} said this\n" + str(archive)
        return lambda name, command: Step(name, tuple(command), statuses.get(name, 0), 1.0, said.format(name))

    return named


def test_without_a_model_or_a_server_the_rest_is_left_out(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "has_make_target", lambda name: True)
    plan = verify.plan(options(), tmp_path)
    done = verify.run_all(plan, ran({"compile and parity": 1}))
    assert [step.outcome for step in done] == ["failed (1)", *["left out"] * 4]
    done = verify.run_all(plan, ran({"serve": 2}))
    assert [step.outcome for step in done] == ["passed", "passed", "failed (2)", "left out", "left out"]


def test_a_benchmark_that_fails_stops_nothing_and_fails_the_whole(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "has_make_target", lambda name: True)
    done = verify.run_all(verify.plan(options(), tmp_path), ran({"in-process benchmark": 1, "open-loop run": 1}))
    assert [step.status for step in done] == [0, 1, 0, 0, 1]
    assert verify.verdict(done) == "FAILED at in-process benchmark, open-loop run"


def test_a_step_that_was_left_out_is_no_pass(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "has_make_target", lambda name: name != "inprocess")
    done = verify.run_all(verify.plan(options(), tmp_path), ran({}))
    assert verify.verdict(done) == "passed, but in-process benchmark left out"
    assert done[1].output == "this checkout has no make inprocess"
    monkeypatch.setattr(verify, "has_make_target", lambda name: True)
    assert verify.verdict(verify.run_all(verify.plan(options(), tmp_path), ran({}))) == "passed"


def test_the_evidence_holds_the_machine_and_every_step(ran, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "has_make_target", lambda name: True)
    done = verify.run_all(verify.plan(options(), tmp_path), ran({"contract": 1}))
    text = verify.evidence("inf2", "an instance", done)
    assert text.startswith("# Acceptance of the target inf2: FAILED at contract\n")
    assert "an instance" in text
    for step in done:
        assert f"`{' '.join(step.command)}`" in text
        assert f"{step.name} said this" in text
    assert '{"parity": {"agreement": 0.996}}' in text
    failed = verify.run_all(verify.plan(options(), tmp_path), ran({"compile and parity": 1}))
    assert "none was built" in verify.evidence("inf2", "an instance", failed)


def test_the_machine_is_described():
    text = verify.describe_machine()
    assert "commit " in text
    assert "MemTotal" in text


def test_a_target_without_its_device_is_refused_before_anything_runs(capfd):
    assert verify.main(["--target", "tpu"]) == 2
    assert "--target tpu: no such target" in capfd.readouterr().err


def test_the_makefile_is_asked_for_targets_by_their_whole_name():
    assert verify.has_make_target("serve-inf1")
    assert not verify.has_make_target("serve-inf")
