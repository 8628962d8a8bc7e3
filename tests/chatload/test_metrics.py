"""Metrics: what Prometheus reads is what the snapshot says, and the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import parser

from chatload import live, metrics
from tests.chatload.made_runs import make_run

DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana-dashboard.json"


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory) -> dict:
    latency_ms = np.random.default_rng(1).exponential(20.0, 5_000)
    return live.finished(make_run(tmp_path_factory.mktemp("metrics") / "run", latency_ms, wrong=50, failed=20))


@pytest.fixture(scope="module")
def values(snapshot) -> dict:
    """The value of each metric by name and labels, as Prometheus' own parser reads it."""
    families = parser.text_string_to_metric_families(metrics.exposition(snapshot).decode())
    return {(sample.name, *sorted(sample.labels.items())): sample.value for family in families for sample in family.samples}


def test_the_figures_are_those_of_the_snapshot(snapshot, values):
    summary = snapshot["summary"]
    for name, quantile in (("p50", "0.5"), ("p90", "0.9"), ("p99", "0.99")):
        for bound in ("value", "low"):
            key = ("chatload_latency_seconds", ("bound", bound), ("quantile", quantile))
            assert values[key] == pytest.approx(summary["latency_ms"][name][bound] / 1e3)
    assert values["chatload_arrivals_total", ("outcome", "ok")] == summary["ok"] == 4_930
    assert values["chatload_arrivals_total", ("outcome", "http_503")] == 20
    assert values["chatload_error_ratio",] == summary["errors"]["value"]
    assert values["chatload_accuracy_ratio",] == summary["accuracy"]["share"]["value"]
    assert values["chatload_planned_rate",] == 100
    assert values["chatload_verdict", ("outcome", snapshot["verdict"]["outcome"])] == 1
    assert sum(value for key, value in values.items() if key[0] == "chatload_verdict") == 1
    assert sum(value for key, value in values.items() if key[0] == "chatload_health") == 1


def test_what_is_not_known_is_not_exported(snapshot, values):
    assert snapshot["summary"]["latency_ms"]["p99.99"]["value"] is None
    assert ("chatload_latency_seconds", ("bound", "value"), ("quantile", "0.9999")) not in values


def test_before_the_first_run_there_is_nothing():
    assert metrics.exposition(None) == b""


def test_every_panel_of_the_dashboard_asks_for_what_is_exported(values):
    exported = {name for name, *_ in values}
    expressions = [target["expr"] for panel in json.loads(DASHBOARD.read_text())["panels"] for target in panel["targets"]]
    asked = {name for expression in expressions for name in re.findall(r"chatload_\w+", expression)}
    assert len(expressions) >= 13
    assert asked - exported == set()
    labels = {(name, label) for name, *pairs in values for label, _ in pairs}
    for expression in expressions:
        for name, label in re.findall(r"(chatload_\w+)\{(\w+)=", expression):
            assert (name, label) in labels, expression
