"""A search from probe to probe, its runs made up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatload import capacity, cost, runfolder, search, settings
from tests.chatload.made_runs import make_run

OPTIONS = {option.name: option.default for option in settings.OPTIONS} | {"objective": "p99<100ms,errors<5%", "rate": 100.0}


def wanted(run_time_s: float = 0.0, **options: object) -> settings.Settings:
    return settings.read({**OPTIONS, **options}, "http://127.0.0.1:1", run_time_s)


def started(folder: Path, **options: object) -> tuple[search.Search, list[str]]:
    said: list[str] = []
    return search.Search(folder / "search", wanted(**options), said.append), said


def make_probe(going: search.Search, latency_ms: float, spread: float = 0.1) -> None:
    """A probe of ten seconds whose latencies are all about the same."""
    assert going.step is not None
    folder = Path(going.settings(going.step).results)
    latencies = latency_ms * np.random.default_rng(1).uniform(1 - spread, 1 + spread, 1_000)
    going.take(make_run(folder, latencies, objective=OPTIONS["objective"]), going.step)


def written(going: search.Search) -> dict:
    return json.loads((going.folder / "capacity.json").read_text())


def test_every_probe_is_a_run_with_its_own_folder_seed_and_rule(tmp_path):
    going, said = started(tmp_path)
    first = going.settings(going.step)
    make_probe(going, 20.0)
    second = going.settings(going.step)
    assert (first.rate, second.rate) == (100.0, 400.0)
    assert (first.seed, second.seed) == (1, 2)
    assert [Path(probe.results).name for probe in (first, second)] == ["probe-01", "probe-02"]
    assert first.run_time_s == 65.0
    assert first.abort_when == "p50>200ms,errors>50% for 5s"
    assert len(said) == 2
    assert said[0].startswith("capacity: http://127.0.0.1:1 within p99<100ms,errors<5%, from 100/s on")
    assert "probe  1  bracket" in said[1]
    assert said[1].endswith("not yet bracketed")


def test_capacity_json_tells_of_every_probe_while_the_search_goes_on(tmp_path):
    going, _ = started(tmp_path)
    assert (written(going)["state"], written(going)["probes"]) == ("searching", [])
    make_probe(going, 20.0)
    make_probe(going, 400.0)
    found = written(going)
    assert found == runfolder.plain(going.state())
    assert [probe["answer"] for probe in found["probes"]] == ["pass", "fail"]
    assert found["probes"][0]["p"]["p99"]["value"] == pytest.approx(22, rel=0.02)
    assert found["bracket"] == [100.0, 400.0]
    assert found["answer"] is None
    assert set(found["knee"]) == {"rate", "folder", "lag", "queue", "tokenize", "infer"}


def test_a_search_ends_with_an_answer_and_its_price(tmp_path):
    going, said = started(tmp_path, precision="30%", instance="c7i.xlarge")
    while going.step is not None:
        make_probe(going, 400.0 if going.step.rate > 150 else 20.0)
    found = written(going)
    assert going.outcome == found["state"] == capacity.FOUND
    assert found["answer"]["low"] <= found["answer"]["rate"] <= 150 <= found["answer"]["high"]
    price = found["cost_per_million"]
    assert price["dollars"] == pytest.approx(cost.per_million(price["dollars_per_hour"], found["answer"]["rate"]))
    assert len(said) == 1 + len(found["probes"])


def test_an_interrupted_search_keeps_its_probes_and_says_how_far_it_got(tmp_path):
    going, _ = started(tmp_path)
    make_probe(going, 20.0)
    going.interrupt("the process was told to stop")
    going.interrupt("told again")
    found = written(going)
    assert going.step is None
    assert going.outcome == found["state"] == capacity.UNDECIDED
    assert found["reason"] == "interrupted after 1 probes: the process was told to stop"
    assert len(found["probes"]) == 1
    report = going.finish()
    assert "capacity   NOT DECIDED\n    - interrupted after 1 probes" in report
    assert "Bokeh" in (going.folder / "report.html").read_text()


def test_an_end_is_not_turned_into_an_interruption(tmp_path):
    going, _ = started(tmp_path)
    make_probe(going, 400.0)
    assert going.outcome == capacity.NONE
    going.interrupt("the process was told to stop")
    assert (going.outcome, going.interrupted) == (capacity.NONE, "")


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"objective": "errors<1%"}, "the objective has no latency"),
        ({"run_time_s": 60.0}, "--run-time is not for a capacity search"),
        ({"instance": "c99.huge"}, "no price for 'c99.huge' in us-east-1"),
    ],
)
def test_what_cannot_be_searched_for_is_refused(mistake, message):
    with pytest.raises((capacity.CapacityError, settings.SettingsError, cost.CostError), match=message):
        search.check(wanted(**mistake))


def test_a_folder_that_holds_something_is_not_touched(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "precious").write_text("data")
    with pytest.raises(runfolder.RunFolderError, match="exists and is not empty"):
        started(tmp_path)
