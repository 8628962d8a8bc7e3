"""Reading what is compared, and the command line over it: real run folders, made of given latencies."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from chatload import cli, compare, conditions, runfolder, runs, sides
from tests.chatload.made_runs import make_run

HEADER = {
    "schema": 1,
    "target": "cpu",
    "recipe": "tuned",
    "model": "minilm",
    "corpus": "c.tsv",
    "threads": 1,
    "duration_s": 30.0,
}


def latency_ms(count: int, factor: float = 1.0, seed: int = 1) -> np.ndarray:
    return factor * np.random.default_rng(seed).lognormal(3, 0.3, count)


def make_in_process(path: Path, throughput: float, **header: object) -> Path:
    chance = np.random.default_rng(int(throughput))
    rows = [
        f"7,{number},{throughput + chance.normal():.3f},{1e3 / throughput:.3f},{1.2e3 / throughput:.3f}"
        for number in range(30)
    ]
    path.write_text("\n".join(["pid,inferences,throughput,p50_ms,p90_ms", *rows]) + "\n")
    path.with_suffix(".json").write_text(json.dumps(HEADER | header))
    return path


def command(*arguments: object) -> int:
    """The exit code of a chatload command."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    return ended.value.code


def refused(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    """The one line with which a command refuses its arguments."""
    assert command(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("chatload: ")
    assert err.count("\n") == 1
    return err


def test_a_side_has_the_numbers_of_its_run(tmp_path):
    folder = make_run(tmp_path / "a", latency_ms(2_000), wrong=100, failed=40)
    side, summary = sides.read(folder), runfolder.read_json(folder)["summary"]
    (run,) = side.runs
    assert len(run.latency_ms) == summary["planned"] == 2_000
    assert np.isinf(run.latency_ms).sum() == 40
    assert len(run.done_s) / run.duration_s == pytest.approx(summary["throughput"]["value"])
    assert (
        (len(run.correct), run.correct.sum())
        == (summary["accuracy"]["checked"], summary["accuracy"]["correct"])
        == (1_960, 1_860)
    )
    for metric in ("p50", "p90"):
        found = compare.estimate(side, metric, 0.95)
        assert {"value": found.value, "low": found.low, "high": found.high} == pytest.approx(summary["latency_ms"][metric])
    assert side.faults == ()


def test_the_warm_up_is_left_out(tmp_path):
    latencies = np.concatenate([np.full(500, 900.0), np.full(1_500, 10.0)])
    (run,) = sides.read(make_run(tmp_path / "a", latencies, warmup_s=5.0)).runs
    assert (len(run.latency_ms), run.latency_ms.max()) == (1_500, pytest.approx(10))


def test_repeated_runs_are_read_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        make_run(tmp_path / str(number), np.full(200, float(number)))
    assert [run.latency_ms[0] for run in sides.read(tmp_path).runs] == pytest.approx([1, 2, 10])


def test_in_process_benchmarks_of_different_corpora_are_refused(tmp_path, capsys):
    a, b = make_in_process(tmp_path / "a.csv", 50), make_in_process(tmp_path / "b.csv", 60, corpus="other.tsv")
    assert "corpus: c.tsv against other.tsv" in refused(capsys, "compare", a, b)
    cli.main(["compare", str(a), str(b), "--anyway"])
    assert "throughput/s" in capsys.readouterr().out


def test_repeated_runs_of_different_kinds_are_refused(tmp_path, capsys):
    make_run(tmp_path / "s" / "1", latency_ms(200))
    make_run(tmp_path / "s" / "2", latency_ms(200), objective="p99<2s")
    make_run(tmp_path / "b", latency_ms(200))
    assert "holds runs of different kinds: 2 differs from 1" in refused(capsys, "compare", tmp_path / "s", tmp_path / "b")


def test_turns_of_other_calls_are_another_kind_of_run(tmp_path):
    a = make_run(tmp_path / "a", latency_ms(200), calls={"scope": [], "intent": ["scope"]})
    b = make_run(tmp_path / "b", latency_ms(200))
    (difference,) = conditions.differences(sides.read(a).conditions, sides.read(b).conditions)
    assert "scope, intent after scope" in difference


def test_the_gate_has_three_exit_codes(tmp_path, capsys):
    base, same, slow, short = (
        make_run(tmp_path / name, latency_ms(count, factor, seed))
        for seed, (name, count, factor) in enumerate(
            [("base", 20_000, 1), ("same", 20_000, 1), ("slow", 20_000, 1.3), ("short", 1_000, 1)]
        )
    )
    metrics = ("--metrics", "p50,p90,errors", "--gate")
    assert command("compare", base, same, *metrics) == 0
    assert "gate  PASS: B is not worse than A by more than 5 %" in capsys.readouterr().out
    assert command("compare", base, slow, *metrics) == 1
    assert (
        "gate  FAIL: B is worse than A by more than 5 % (1 point of errors and accuracy): p50, p90"
        in capsys.readouterr().out
    )
    assert command("compare", base, short, "--metrics", "p99", "--gate") == 2
    out = capsys.readouterr().out
    assert "gate  NOT DECIDED: B may be worse than A" in out
    assert "To tell 5 % in p99: about " in out
    assert command("compare", base, slow, *metrics, "--margin", "50%") == 0
    assert command("compare", slow, base, *metrics) == 0


def test_an_undecided_gate_says_what_decides_it_even_where_the_difference_is_real(tmp_path, capsys):
    a, b = make_run(tmp_path / "a", latency_ms(20_000)), make_run(tmp_path / "b", latency_ms(20_000, 1.05, 2))
    assert command("compare", a, b, "--metrics", "p50", "--gate") == 2
    out = capsys.readouterr().out
    assert "To tell 5 % in p50: about " in out
    cli.main(["compare", str(a), str(b), "--metrics", "p50"])
    assert "To tell" not in capsys.readouterr().out


def test_a_comparison_without_a_gate_is_no_failure(tmp_path, capsys):
    a, b = make_run(tmp_path / "a", latency_ms(3_000)), make_run(tmp_path / "b", latency_ms(3_000, 1.5, 2))
    cli.main(["compare", str(a), str(b), "--json", str(tmp_path / "c.json")])
    assert "worse by more than 5 %" in capsys.readouterr().out
    content = json.loads((tmp_path / "c.json").read_text())
    assert content["comparisons"][0]["left_out"] == []
    found = content["comparisons"][0]["findings"]["p50"]
    assert (found["real"], found["gate"]) == ("worse", "worse")
    assert found["change"]["low"] < 1.5 < found["change"]["high"]
    assert found["a"]["value"] < found["b"]["value"]


def test_the_page_holds_all_that_it_shows(tmp_path, capsys):
    a, b = make_run(tmp_path / "a", latency_ms(3_000)), make_run(tmp_path / "<img src=x>", latency_ms(3_000, 1.5, 2))
    cli.main(["compare", str(a), str(b), "--html", str(tmp_path / "c.html")])
    report = capsys.readouterr().out
    page = (tmp_path / "c.html").read_text()
    assert "<script src=" not in page
    assert "default-src 'none'" in page
    assert "<img src=x>" not in page
    assert "worse by more than 5 %" in page
    assert "worse by more than 5 %" in report


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rate": 200.0}, "rate: 100/s against 200/s"),
        (
            {"corpus": {"file": "other.tsv", "split": "all", "utterances": 7}},
            "corpus: corpus/support.tsv (split test, 1 utterances)",
        ),
        ({"model": {"name": "bert-base", "version": "1"}}, "model: minilm against bert-base"),
        ({"objective": "p99<2s"}, "objective: errors<5%,p99<1s against p99<2s"),
        ({"arrivals": "poisson"}, "arrivals: constant against poisson"),
    ],
)
def test_what_is_not_comparable_is_refused_and_named(tmp_path, capsys, change, named):
    a, b = make_run(tmp_path / "a", latency_ms(2_000)), make_run(tmp_path / "b", latency_ms(2_000), **change)
    assert named in refused(capsys, "compare", a, b)
    cli.main(["compare", str(a), str(b), "--anyway"])
    assert f"compared anyway: {named}" in capsys.readouterr().out


def test_an_objective_in_another_order_is_the_same(tmp_path):
    a = make_run(tmp_path / "a", latency_ms(500))
    b = make_run(tmp_path / "b", latency_ms(500), objective="errors<5%, p99<1s")
    assert conditions.differences(sides.read(a).conditions, sides.read(b).conditions) == []


def test_another_version_of_the_model_is_what_comparisons_are_for(tmp_path):
    a = make_run(tmp_path / "a", latency_ms(500))
    b = make_run(tmp_path / "b", latency_ms(500), model={"name": "minilm", "version": "other"})
    assert conditions.differences(sides.read(a).conditions, sides.read(b).conditions) == []


def test_an_invalid_run_is_refused_but_one_that_missed_its_objective_is_not(tmp_path, capsys):
    fine = make_run(tmp_path / "fine", latency_ms(2_000))
    missed = make_run(tmp_path / "missed", latency_ms(2_000, 100))
    cut = make_run(tmp_path / "cut", latency_ms(2_000), interrupted="stopped by hand")
    cli.main(["compare", str(fine), str(missed)])
    capsys.readouterr()
    assert "cut is invalid: interrupted: stopped by hand" in refused(capsys, "compare", fine, cut)


def test_a_run_that_was_ended_as_hopeless_is_refused(tmp_path, capsys):
    fine = make_run(tmp_path / "fine", latency_ms(2_000))
    aborted = make_run(tmp_path / "aborted", latency_ms(2_000), aborted="p50>10ms for 10 s")
    assert runfolder.read_json(aborted)["verdict"]["outcome"] == "invalid"
    assert "aborted is invalid: " in refused(capsys, "compare", fine, aborted)


def test_a_run_that_was_cut_in_its_warm_up_is_refused_even_when_told_to_compare_anyway(tmp_path, capsys):
    fine = make_run(tmp_path / "fine", latency_ms(500))
    cut = make_run(tmp_path / "cut", latency_ms(500), warmup_s=60.0)
    page = tmp_path / "page.html"
    for options in ((), ("--anyway",), ("--anyway", "--html", page), ("--anyway", "--gate")):
        assert "cut measured nothing, it ended within its warm-up" in refused(capsys, "compare", fine, cut, *options)


def test_a_metric_that_was_asked_for_and_is_not_there_stops_the_gate(tmp_path, capsys):
    cpu, inf1 = make_in_process(tmp_path / "cpu.csv", 41.0), make_in_process(tmp_path / "inf1.csv", 200.0)
    said = refused(capsys, "compare", cpu, inf1, "--metrics", "p50,p99", "--gate")
    assert "cpu.csv has no p99 (it knows throughput, p50, p90): leave it out of --metrics" in said
    cli.main(["compare", str(cpu), str(inf1)])
    assert "Left out: p99, which not every side knows." in capsys.readouterr().out


def break_schema(folder: Path) -> None:
    content = runfolder.read_json(folder)
    (folder / "run.json").write_text(json.dumps(content | {"schema": 99}))


def break_summary(folder: Path) -> None:
    content = runfolder.read_json(folder)
    del content["summary"]["planned"]
    (folder / "run.json").write_text(json.dumps(content))


def break_objective(folder: Path) -> None:
    content = runfolder.read_json(folder)
    content["run"]["objective"] = "fast"
    (folder / "run.json").write_text(json.dumps(content))


def truncate(name: str):
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


def exchange_samples(folder: Path) -> None:
    shutil.copy(make_run(folder.parent / "other", latency_ms(300)) / "samples.parquet", folder)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (break_schema, "has schema 99, this version of chatload reads schema 1"),
        (break_summary, "is damaged or of another version of chatload (Object missing required field `planned`"),
        (break_objective, "is not as chatload writes it"),
        (truncate("run.json"), "run.json cannot be read"),
        (truncate("samples.parquet"), "samples.parquet cannot be read"),
        (lambda folder: (folder / "samples.parquet").unlink(), "has no samples.parquet: copy the whole folder of the run"),
        (lambda folder: (folder / "run.json").unlink(), "is not a run's folder and holds none"),
        (exchange_samples, "has 300 arrivals where run.json counts 500"),
    ],
)
def test_a_damaged_folder_is_one_clear_line(tmp_path, capsys, damage, said):
    a, b = make_run(tmp_path / "a", latency_ms(500)), make_run(tmp_path / "b", latency_ms(500))
    damage(b)
    assert said in refused(capsys, "compare", a, b)


def test_an_unfinished_run_says_how_it_is_finished(tmp_path, capsys):
    a = make_run(tmp_path / "a", latency_ms(500))
    content = runfolder.read_json(a)
    runfolder.create(tmp_path / "b", content["run"], [])
    assert f"chatload report {tmp_path / 'b'} finishes one" in refused(capsys, "compare", a, tmp_path / "b")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metrics", "p98"), "--metrics 'p98': choose of throughput, p50"),
        (("--metrics", ","), "--metrics ','"),
        (("--margin", "five"), "--margin: 'five' is not a share"),
        (("--margin", "0"), "--margin 0: nothing is the same to the last digit"),
        (("--points", "200%"), "--points: '200%' is more than 100%"),
        (("--instances", "c7i.xlarge"), "2 sides need 2 types"),
        (("--instances", "c7i.xlarge,tpu"), "no price for 'tpu' in us-east-1"),
        (("--json", "/no/such/folder/x.json"), "/no/such/folder/x.json cannot be written"),
    ],
)
def test_a_bad_option_is_one_clear_line(tmp_path, capsys, options, said):
    a = make_run(tmp_path / "a", latency_ms(500))
    assert command("compare", a, a, *options) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_one_side_is_nothing_to_compare(tmp_path, capsys):
    assert "1 sides: name from two to 26" in refused(capsys, "compare", tmp_path)


def test_the_table_of_the_published_case_comes_from_in_process_benchmarks(tmp_path, capsys):
    cpu, inf1 = make_in_process(tmp_path / "cpu.csv", 41.0), make_in_process(tmp_path / "inf1.csv", 200.0, target="inf1")
    cli.main(["compare", str(cpu), str(inf1), "--instances", "g4dn.xlarge,inf1.xlarge"])
    out = capsys.readouterr().out
    assert "minilm for inf1, recipe tuned, 1 threads in process, 30 intervals in 30 s" in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.startswith("  ")}
    assert float(rows["throughput/s"][3]) == pytest.approx(200 / 41, rel=0.03)
    assert float(rows["p50"][4]) == pytest.approx(41 / 200, rel=0.03)
    assert float(rows["p90"][4]) == pytest.approx(41 / 200, rel=0.03)
    # 0.228 $ an hour / 3600 s / 200 answers a second, a million times.
    assert float(rows["B"][-1]) == pytest.approx(0.317, rel=0.01)


def test_processes_of_an_in_process_benchmark_add_up(tmp_path):
    path = make_in_process(tmp_path / "cpu.csv", 41.0)
    path.write_text("pid,inferences,throughput,p50_ms,p90_ms\n1,9,10,5,6\n2,9,20,7,8\n1,19,12,5,6\n2,29,22,7,8\n1,9,1,1,1\n")
    windows = sides.read(path).windows
    assert {name: values.tolist() for name, values in windows.items()} == {
        "throughput": [30, 34],
        "p50": [6, 6],
        "p90": [7, 7],
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first line is not pid,inferences,throughput,p50_ms,p90_ms"),
        ("pid,inferences,throughput,p50_ms,p90_ms\n1,1,fast,1,1\n", "line 2: five numbers are wanted"),
        ("pid,inferences,throughput,p50_ms,p90_ms\n1,1,1\n", "line 2: five numbers are wanted"),
        ("pid,inferences,throughput,p50_ms,p90_ms\n1,1,1,1,1\n", "fewer than two intervals"),
    ],
)
def test_a_bad_in_process_file_is_one_clear_line(tmp_path, capsys, text, said):
    good, bad = make_in_process(tmp_path / "good.csv", 41.0), make_in_process(tmp_path / "bad.csv", 41.0)
    bad.write_text(text)
    assert said in refused(capsys, "compare", good, bad)


def test_an_in_process_file_needs_its_json(tmp_path, capsys):
    a, b = make_in_process(tmp_path / "a.csv", 41.0), make_in_process(tmp_path / "b.csv", 41.0, schema=2)
    assert "b.json has schema 2" in refused(capsys, "compare", a, b)
    b.with_suffix(".json").unlink()
    assert "b.json is missing" in refused(capsys, "compare", a, b)


def test_a_served_run_is_not_the_model_in_process(tmp_path, capsys):
    a, b = make_in_process(tmp_path / "a.csv", 41.0), make_run(tmp_path / "b", latency_ms(500))
    assert "measured: the model in process against a served run" in refused(capsys, "compare", a, b)


def test_runs_are_found_at_any_depth(tmp_path):
    for name in ("x/1", "y"):
        make_run(tmp_path / name, latency_ms(200))
    assert [folder.name for folder in runs.folders_below(tmp_path)] == ["1", "y"]
