from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatload import capacity, capacity_page, capacity_report, objective
from chatload.objective import Estimate

ESTIMATE = {"value": 40.0, "low": 35.0, "high": 50.0}
OPEN = {"value": 90.0, "low": 80.0, "high": None}


def probe(rate: float, answer: str, p99: dict) -> dict:
    return {
        "folder": f"probe-{rate:g}",
        "rate": rate,
        "purpose": "narrow",
        "answer": answer,
        "samples": 12_345,
        "seconds": 60.0,
        "p": {"p99": p99},
    }


FOUND = {
    "schema": 1,
    "state": "found",
    "host": "http://127.0.0.1:8080",
    "objective": "p99<100ms",
    "limit_ms": {"p99": 100.0},
    "answer": {"rate": 420.0, "low": 410.0, "high": 431.0},
    "so_far": None,
    "reason": "confirmed at 419/s",
    "saturation": {"throughput": 500.0},
    "knee": {"rate": 419.0, "folder": "probe-419", "lag": 0.05, "queue": 9.0, "tokenize": 0.1, "infer": 2.0},
    "cost_per_million": {
        "instance": "c7i.xlarge",
        "region": "us-east-1",
        "dollars_per_hour": 0.1785,
        "dollars": 0.118,
        "source": "a list",
    },
    "probes": [probe(419.0, "undecided", OPEN), probe(100.0, "pass", ESTIMATE)],
}


def test_the_text_says_the_answer_with_its_interval_and_what_goes_with_it():
    lines = [line.strip() for line in capacity_report.text(FOUND, "results/x").splitlines()]
    assert "capacity   FOUND: 420.0/s (95 % interval 410.0/s to 431.0/s)" in lines
    assert "- confirmed at 419/s" in lines
    assert "full load  500.0/s answered" in lines
    assert "cost       $0.118 per million answers on c7i.xlarge in us-east-1 (a list)" in lines
    assert any(line.startswith("at 419.0/s, mean ms: generator's lag 0.05") for line in lines)
    rates = [line.split()[0] for line in lines if line.endswith(")") and "12,345" in line or "or more" in line]
    assert rates == ["100.0/s", "419.0/s"]


def saturation(*probes: tuple[float, float], answer: str = capacity.PASS) -> dict:
    """What capacity.json says of probes of (offered, answered) per second, each known to within 2 %."""
    plan = capacity.Plan(objective.parse("p99<100ms"), lowest_rate=20.0, probe_s=60.0)
    history = [
        capacity.Probe(
            rate=offered,
            answer=answer,
            purpose=capacity.BRACKET,
            latency_ms={"p99": Estimate(50.0, 40.0, 60.0)},
            samples=10_000,
            seconds=60.0,
            throughput=Estimate(answered, answered * 0.98, answered * 1.02),
            offered=offered,
        )
        for offered, answered in probes
    ]
    facts = {"started": "", "host": "", "objective": "p99<100ms", "price": None}
    return capacity_report.content(plan, history, [], None, facts)["saturation"]


def test_full_load_is_the_most_that_was_answered_once_a_probe_was_offered_more():
    assert saturation((100.0, 100.0), (200.0, 199.0)) == {"throughput": None, "at_least": False, "overloaded": None}
    assert saturation((100.0, 100.0), (400.0, 150.0)) == {"throughput": 150.0, "at_least": False, "overloaded": None}
    assert saturation((160.0, 155.0), (150.0, 150.0), (400.0, 154.0))["throughput"] == 155.0


def test_a_probe_in_which_the_generator_was_the_limit_says_nothing_of_full_load():
    assert saturation((200.0, 200.0), (400.0, 137.0), answer=capacity.INVALID)["throughput"] is None


def test_a_server_that_answers_less_under_overload_has_a_full_load_of_its_best_probe():
    overloaded = {"offered": 400.0, "throughput": 137.0}
    assert saturation((200.0, 200.0), (400.0, 137.0)) == {"throughput": 200.0, "at_least": True, "overloaded": overloaded}
    assert saturation((210.0, 200.0), (400.0, 137.0)) == {"throughput": 200.0, "at_least": False, "overloaded": overloaded}
    found = {**FOUND, "saturation": saturation((200.0, 200.0), (400.0, 137.0))}
    said = "  full load  200.0/s or more answered; of 400.0/s offered only 137.0/s\n"
    assert said in capacity_report.text(found, "results/x")


def test_what_is_not_known_is_left_out():
    found = {
        **FOUND,
        "state": "none",
        "answer": None,
        "saturation": {"throughput": None},
        "knee": None,
        "cost_per_million": None,
    }
    report = capacity_report.text(found, "results/x")
    assert "capacity   NONE\n    - confirmed" in report
    for word in ("interval", "full load", "cost", "mean ms"):
        assert word not in report


def test_a_line_a_probe_tells_how_far_the_search_is():
    state = {"probes": [probe(419.0, "undecided", OPEN)], "limit_ms": {"p99": 100.0}, "so_far": None, "answer": None}
    line = capacity_report.line(3, state)
    assert "probe  3  narrow" in line
    assert "p99   90.0 ms (80.0 or more)" in line
    assert line.endswith("not yet bracketed")
    assert capacity_report.line(4, {**state, "answer": FOUND["answer"]}).endswith("capacity 410.0/s to 431.0/s")
    nearer = capacity_report.line(4, {**state, "so_far": FOUND["answer"]})
    assert nearer.endswith("capacity 410.0/s to 431.0/s")


FAILED = probe(838.0, "fail", {"value": None, "low": None, "high": None})
BARELY = probe(500.0, "fail", {"value": None, "low": 90.0, "high": None})


def test_a_probe_whose_failures_reach_into_the_percentile_had_no_answer_there():
    """Too few samples to carry a percentile are another thing, though run.json has null for both."""
    few = {**FAILED, "samples": 100}
    for told, said in ((FAILED, "no answer"), (BARELY, "no answer"), (few, "-")):
        state = {"probes": [told], "limit_ms": {"p99": 100.0}, "so_far": None, "answer": None}
        assert capacity_report.line(1, state).endswith(f"fail      {'p99 ' + said:<36}  not yet bracketed")
    lines = capacity_report.text({**FOUND, "probes": [FAILED]}, "results/x").splitlines()
    assert any(line.endswith("12,345  no answer") for line in lines)


def test_the_plot_has_a_probe_without_an_answer_at_its_top():
    plot = capacity_page._latency_over_rate({**FOUND, "probes": [FAILED]}, "p99", 100.0)
    assert plot is not None
    attributes = plot.item["doc"]["roots"][0]["attributes"]
    (marks,) = (each["attributes"]["data_source"]["attributes"]["data"] for each in attributes["renderers"][::2])
    (y,), told = dict(marks["entries"])["y"], dict(marks["entries"])["ms"]
    assert 100.0 < y < attributes["y_range"]["attributes"]["end"]
    assert told == ["no answer"]
    assert plot.legend == (("fail", "red"),)


@pytest.mark.parametrize("content", ["[]", '{"schema": 2}', "{"], ids=["list", "schema", "not JSON"])
def test_what_is_no_search_is_refused_in_one_line(tmp_path: Path, content):
    (tmp_path / "capacity.json").write_text(content)
    done = chatload("capacity", str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is damaged or of another version of chatload" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["capacity", "report"])
def test_the_report_can_be_made_again(tmp_path: Path, command):
    (tmp_path / "capacity.json").write_text(json.dumps(FOUND))
    done = chatload(command, str(tmp_path))
    assert done.stdout == capacity_report.text(FOUND, str(tmp_path))
    page = (tmp_path / "report.html").read_text()
    assert "p99 of latency over the offered rate" in page
    assert "undecided" in page


def test_the_plot_shows_bounded_intervals_whole_and_open_ones_to_its_top():
    wide = {"value": 20.0, "low": 2.0, "high": 400.0}
    found = {**FOUND, "probes": [probe(419.0, "undecided", OPEN), probe(100.0, "pass", wide)]}
    plot = capacity_page._latency_over_rate(found, "p99", 100.0)
    assert plot is not None
    attributes = plot.item["doc"]["roots"][0]["attributes"]
    span = attributes["y_range"]["attributes"]
    assert (span["start"], span["end"]) == (pytest.approx(1.6), pytest.approx(500.0))
    bars = [each["attributes"]["data_source"]["attributes"]["data"] for each in attributes["renderers"][::2]]
    highs = sorted(high for bar in bars for high in dict(bar["entries"])["high"])
    assert highs == [400.0, pytest.approx(500.0)]


def chatload(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "chatload", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
