"""Whole runs of the assistant: real Locust processes against a stand-in for a server with six models."""

from __future__ import annotations

import time

import pyarrow.parquet
import pytest

from chatload import fold
from tests.chatload.models import Models
from tests.chatload.runs import content

LABELS = {
    "language": "english",
    "scope": "in_scope",
    "intent": "pricing",
    "product": "sales",
    "urgency": "low",
    "act": "question",
}
# The longest way is language, scope, urgency.
DELAYS_S = {"language": 0.01, "scope": 0.02, "urgency": 0.06}
BASICS = ("--headless", "--warmup", "0s", "--objective", "p50<400ms,errors<50%", "--rate", "20", "--run-time", "4s")


def delayed(name: str) -> None:
    time.sleep(DELAYS_S.get(name, 0.0))


def calls_of(folder) -> dict[tuple, dict[str, dict]]:
    """For each turn, by its process and its moment, its calls by name."""
    turns: dict[tuple, dict[str, dict]] = {}
    for row in pyarrow.parquet.read_table(folder / "calls.parquet").to_pylist():
        turns.setdefault((row["worker"], row["arrival_s"]), {})[row["call"]] = row
    return turns


def test_a_turn_s_latency_is_that_of_its_critical_path_in_two_processes(scripted, locust):
    host = f"http://127.0.0.1:{scripted(Models(LABELS, delayed)).port}"
    done = locust.run(*BASICS, "--host", host, "--processes", "2", scenario="locustfiles/assistant.py")
    assert "Traceback" not in done.stderr
    run, summary = (content(locust.results)[part] for part in ("run", "summary"))
    assert run["calls"]["urgency"] == ["scope"]
    assert run["model"]["name"] == "intent-stand-in"
    assert summary["planned"] == summary["ok"] + summary["wrong"] > 30
    table, turns = pyarrow.parquet.read_table(locust.results / "samples.parquet").to_pylist(), calls_of(locust.results)
    assert len(table) == len(turns)
    for row in table:
        calls = turns[row["worker"], row["intended_s"]]
        assert set(calls) == set(LABELS)
        assert row["predicted"] == calls["intent"]["predicted"] == "pricing"
        path = sorted((call for call in calls.values() if call["critical"]), key=lambda call: call["done_s"])
        assert path[-1]["done_s"] == row["done_s"] == max(call["done_s"] for call in calls.values())
        assert sum(call["done_s"] - call["intended_s"] for call in path) == pytest.approx(row["done_s"] - row["intended_s"])
        assert row["done_s"] - row["intended_s"] >= sum(DELAYS_S.values())
    shares = {name: call["critical_share"] for name, call in summary["calls"].items()}
    assert shares["language"] == shares["scope"] == 1
    assert shares["urgency"] > 0.5
    assert summary["calls"]["urgency"]["latency_ms"]["p50"]["value"] >= 60
    assert "on the critical path" in done.stdout
    assert fold.show(locust.results) in done.stdout
    assert "<h2>By call</h2>" in (locust.results / "report.html").read_text()


def test_a_model_that_fails_fails_the_turns(scripted, locust):
    statuses: dict[str, int] = {}
    models = Models(LABELS, lambda name: statuses.update(product=503) if models.asked["product"] > 5 else None, statuses)
    locust.run(*BASICS, "--host", f"http://127.0.0.1:{scripted(models).port}", scenario="locustfiles/assistant.py")
    summary = content(locust.results)["summary"]
    assert summary["outcomes"]["http_503"] == summary["calls"]["product"]["outcomes"]["http_503"] > 10
    assert summary["calls"]["intent"]["outcomes"].get("http_503", 0) == 0
    assert 0 < summary["ok"] + summary["wrong"] <= 6


def test_a_server_without_one_of_the_models_is_refused_before_the_run(scripted, locust):
    host = f"http://127.0.0.1:{scripted(Models(LABELS, statuses={'act': 404})).port}"
    done = locust.run(*BASICS, "--host", host, scenario="locustfiles/assistant.py")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("chatload: ")]
    assert "the trial request to act was answered 404" in line
    assert not locust.results.exists()


def test_calls_that_are_no_graph_are_refused_before_the_run(scripted, locust, tmp_path):
    scenario = tmp_path / "circle.py"
    scenario.write_text(
        "from chatload.locust_adapter import Stream\n\n\n"
        "class Circle(Stream):\n    calls = {'intent': ['act'], 'act': ['intent']}\n    corpus = 'corpus/support.tsv'\n"
    )
    host = f"http://127.0.0.1:{scripted(Models(LABELS)).port}"
    done = locust.run(*BASICS, "--host", host, scenario=str(scenario))
    assert done.returncode == 2
    assert "chatload: calls: intent, act wait for each other" in done.stderr
