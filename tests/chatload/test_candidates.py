"""Reading what a plan chooses from, and the command line over it: real run folders, made of given latencies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatload import cli
from tests.chatload.made_runs import make_run

OBJECTIVE = "p90<50ms,errors<5%"


def busy_ms(factor: float = 1.0) -> np.ndarray:
    """A worker that is busy for 2 ms of every 10 ms, or a little more."""
    return factor * np.random.default_rng(1).uniform(2.0, 2.4, 1_000)


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "quiet", busy_ms(), timeout_s=10.0, objective=OBJECTIVE)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "slow", busy_ms(1.5), timeout_s=10.0, objective=OBJECTIVE)


def capacity(folder: Path, low: float = 100.0, **changed: object) -> Path:
    folder.mkdir(exist_ok=True)
    content = {
        "schema": 1,
        "objective": OBJECTIVE,
        "answer": {"rate": 1.1 * low, "low": low, "high": 1.2 * low},
        "probes": [],
    }
    (folder / "capacity.json").write_text(json.dumps(content | changed))
    return folder / "capacity.json"


def test_the_command_plans_how_many_of_what(quiet, slow, tmp_path, capsys):
    found, page = tmp_path / "plan.json", tmp_path / "plan.html"
    asked = [f"c7i.xlarge={quiet}", f"inf1.xlarge={slow}", f"g4dn.xlarge={capacity(tmp_path).parent}"]
    cli.main(["plan", *asked, "--peak-rate", "1000", "--json", str(found), "--html", str(page)])
    out = capsys.readouterr().out
    assert "plan: 1,000/s at the peak" in out
    content = json.loads(found.read_text())
    cpu, inf1, cuda = content["choices"]
    assert (cpu["basis"], cuda["basis"]) == ("forecast", "measured")
    assert 3 <= cpu["instances"] <= inf1["instances"] <= 6
    assert cuda["instances"] == 10
    assert cpu["dollars_per_month"] == pytest.approx(cpu["instances"] * 0.1785 * 730)
    assert content["cheapest"] == "c7i.xlarge"
    assert (
        f"cheapest within the objective: c7i.xlarge, {cpu['instances']} instances, ${cpu['dollars_per_month']:,.2f}" in out
    )
    at_peak = [size for size in content["at_other_traffic"]["c7i.xlarge"] if size["rate"] == 1000]
    assert at_peak == [{"rate": 1000, "instances": cpu["instances"]}]
    assert f"{slow}: minilm f5ae90f151ea, 32.0 % busy" in out
    assert f"{tmp_path}/capacity.json; instances by the lower end of its interval" in out
    assert "prices in us-east-1 of c7i.xlarge, inf1.xlarge, g4dn.xlarge: https://" in out
    assert "c7i.xlarge" in page.read_text()


def test_a_small_traffic_is_carried_by_the_floor(quiet, capsys):
    cli.main(["plan", f"c7i.xlarge={quiet}", "--questions", "100000", "--day", "corpus/day.txt"])
    out = capsys.readouterr().out
    assert "100,000 questions a month, 0.0706/s in the busiest hour, 1.85 times the mean" in out
    assert "the floor" in out
    assert "c7i.xlarge, 1 instance, $130.31 a month" in out


def test_a_measurement_beats_the_forecast_of_the_same_type(quiet, tmp_path, capsys):
    cli.main(["plan", f"c7i.xlarge={quiet}", f"c7i.xlarge={capacity(tmp_path, 10.0)}", "--peak-rate", "95"])
    out = capsys.readouterr().out
    assert "cheapest within the objective: c7i.xlarge, 10 instances" in out


def test_an_instance_type_without_a_capacity_is_listed_and_not_chosen(quiet, tmp_path, capsys):
    none = capacity(tmp_path, answer=None)
    cli.main(["plan", f"inf1.xlarge={none}", "--peak-rate", "5"])
    out = capsys.readouterr().out
    assert "no rate met the objective" in out
    assert "no instance type carries this within the objective" in out


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", *map(str, arguments)])
    assert ended.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err


def test_sources_that_cannot_be_planned_with_are_one_clear_line(quiet, slow, tmp_path, capsys):
    good, peak = f"c7i.xlarge={quiet}", ("--peak-rate", 10)
    cut = make_run(tmp_path / "cut", busy_ms(), timeout_s=10.0, interrupted="Ctrl-C")
    assert f"{cut} is an invalid run: interrupted: Ctrl-C" in refused(capsys, f"c7i.xlarge={cut}", *peak)
    other = make_run(tmp_path / "other", busy_ms(), timeout_s=10.0, objective=OBJECTIVE, model={"name": "x", "version": "1"})
    assert f"model differs: minilm in {quiet}, x in {other}" in refused(capsys, good, f"inf1.xlarge={other}", *peak)
    assert "no price for 'tpu' in us-east-1" in refused(capsys, f"tpu={quiet}", *peak)
    assert "c7i.xlarge is forecast twice: write a type once" in refused(capsys, good, good, *peak)
    assert "write an instance type and its run" in refused(capsys, quiet, *peak)
    assert "is not a run's folder" in refused(capsys, f"c7i.xlarge={tmp_path}", *peak)


def test_capacities_that_cannot_be_planned_with_are_one_clear_line(quiet, tmp_path, capsys):
    peak = ("--peak-rate", 10)
    file = f"inf1.xlarge={capacity(tmp_path)}"
    why = refused(capsys, f"c7i.xlarge={quiet}", file, *peak, "--objective", "p90<40ms")
    assert f"{tmp_path}/capacity.json is for {OBJECTIVE}, not for p90<40ms" in why
    capacity(tmp_path, answer={"rate": 1.0, "low": 2.0, "high": 3.0})
    assert "2 <= 1 <= 3/s is no interval above 0" in refused(capsys, file, *peak)
    capacity(tmp_path, answer={"rate": "fast"})
    assert "capacity.json is not a capacity as make capacity writes it" in refused(capsys, file, *peak)
    capacity(tmp_path, objective="fast")
    assert "capacity.json is not a capacity as make capacity writes it" in refused(capsys, file, *peak)


def test_bad_arguments_are_one_clear_line(quiet, capsys):
    good = f"c7i.xlarge={quiet}"
    assert "no clause on latency" in refused(capsys, good, "--peak-rate", 10, "--objective", "errors<1%")
    assert "--peak-rate -1: write a number above 0" in refused(capsys, good, "--peak-rate", -1)
    assert "--peak-rate 0: write a number above 0" in refused(capsys, good, "--peak-rate", 0)
    assert "--questions nan: write a number above 0" in refused(capsys, good, "--questions", "nan")
    assert "--peak-rate is the peak itself" in refused(capsys, good, "--peak-rate", 10, "--peak", 3)
    assert "--workers 1,2: 1 sources need 1 numbers" in refused(capsys, good, "--peak-rate", 10, "--workers", "1,2")
    assert "--workers 0: write a whole number" in refused(capsys, good, "--peak-rate", 10, "--workers", "0")
    assert "--workers 'many': write whole numbers" in refused(capsys, good, "--peak-rate", 10, "--workers", "many")
    assert "p99.9<1s needs 3,688 requests" in refused(capsys, good, "--peak-rate", 10, "--objective", "p99.9<1s")
