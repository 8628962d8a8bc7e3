"""Whole runs: real Locust processes against stand-in servers, from the command line to the run folder."""

from __future__ import annotations

import json
import os
import re
import signal
import time
import urllib.parse
import urllib.request
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest

from chatload import contract, corpus, corpus_file, fold
from tests.chatload.runs import BASICS, content, free_port, rows_of, wait_until


def test_a_run_leaves_a_complete_folder(stand_in, locust):
    done = locust.run(*BASICS, "--host", stand_in("null"), "--rate", "200", "--run-time", "6s")
    run, summary, verdict = (content(locust.results)[part] for part in ("run", "summary", "verdict"))
    assert sorted(path.name for path in locust.results.iterdir()) == [
        "junit.xml",
        "report.html",
        "run.json",
        "samples.parquet",
        "summary.md",
    ]
    assert (run["rate"], run["warmup_s"], run["duration_s"], run["workers"]) == (200, 1, 5, 1)
    assert run["model"] == {"name": "stand-in", "version": "1"}
    replayed = corpus.choose_split(corpus_file.read(run["corpus"]["file"]))[1]
    assert run["corpus"]["sha256"] == corpus.fingerprint(replayed)
    assert summary["planned"] == pytest.approx(1_000, abs=110)
    assert summary["planned"] == summary["sent"] == summary["ok"] + summary["wrong"]
    assert summary["accuracy"]["checked"] == summary["planned"]
    assert (
        summary["latency_ms"]["p50"]["low"] <= summary["latency_ms"]["p50"]["value"] <= summary["latency_ms"]["p50"]["high"]
    )
    assert summary["latency_ms"]["p99.9"] == {"value": None, "low": None, "high": None}
    assert done.returncode == {"pass": 0, "fail": 1, "invalid": 2}[verdict["outcome"]]
    assert f"verdict   {verdict['outcome'].upper()}" in done.stdout
    assert done.stdout.count("latency, from the intended time") == 1
    assert "chatload: about 1,000 arrivals are planned; p99<400ms needs at least 368" in done.stdout


def test_the_samples_are_one_row_an_arrival_and_the_summary_is_theirs(stand_in, locust):
    locust.run(*BASICS, "--host", stand_in("null"), "--rate", "200", "--run-time", "4s")
    table = pyarrow.parquet.read_table(locust.results / "samples.parquet").to_pylist()
    times, words = ["intended_s", "sent_s", "done_s"], ["outcome", "utterance", "intent", "predicted"]
    numbers = ["tokenize_ms", "infer_ms", "bytes", "tokens", "session", "turn", "held_s", "worker"]
    assert list(table[0]) == [*times, *words, *numbers]
    measured = [row for row in table if 1 <= row["intended_s"] < 4]
    summary = content(locust.results)["summary"]
    assert len(measured) == summary["planned"] < len(table)
    assert sum(row["outcome"] == "ok" for row in measured) == summary["ok"] > 0
    assert all(row["predicted"] == "out_of_scope" for row in measured)
    assert all((row["outcome"] == "ok") == (row["intent"] == "out_of_scope") for row in measured)
    latencies = sorted(1e3 * (row["done_s"] - row["intended_s"]) for row in measured)
    assert latencies[-(-len(latencies) // 2) - 1] == pytest.approx(summary["latency_ms"]["p50"]["value"])
    assert all(row["intended_s"] <= row["sent_s"] <= row["done_s"] for row in table)


def test_the_same_seed_offers_the_same_arrivals(stand_in, locust, tmp_path):
    plans = []
    for number in range(2):
        locust.results = tmp_path / f"run{number}"
        locust.run(*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "3s", "--seed", "7")
        table = pyarrow.parquet.read_table(locust.results / "samples.parquet").to_pylist()
        first_s = table[0]["intended_s"]  # the streams start when Locust has started them, which varies by milliseconds
        plans.append(
            [
                (round(row["intended_s"] - first_s, 4), row["utterance"])
                for row in sorted(table, key=lambda r: r["intended_s"])
            ]
        )
    shared = min(map(len, plans)) - 5
    assert [text for _, text in plans[0][:shared]] == [text for _, text in plans[1][:shared]]
    assert shared > 200


def test_a_stall_shows_in_the_latency_of_everyone_who_met_it(stand_in, locust):
    """Half a second in every two is held: a quarter of the arrivals wait evenly up to 0.5 s, so p90 is 300 ms."""
    host = stand_in("stall", "--every", "2", "--held", "0.5")
    # So many that chance moves p90 by 2 % (one standard deviation); at 300/s it is 4 %.
    locust.run("--headless", "--warmup", "0s", "--host", host, "--rate", "1200", "--run-time", "8s")
    summary = content(locust.results)["summary"]
    assert summary["latency_ms"]["p90"]["value"] == pytest.approx(300, rel=0.1)
    assert summary["latency_ms"]["p50"]["value"] < 20
    assert summary["failed"] == summary["dropped"] == summary["unfinished"] == 0


@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one", "two"])
def test_answers_still_out_at_the_end_are_waited_for(stand_in, locust, processes):
    """Locust itself gives workers half a second for their last reports; here the last answer comes four seconds late."""
    host = stand_in("md1", "--service", "0.05")  # 20/s, offered 40/s: the queue grows to the end
    locust.run("--headless", "--warmup", "0s", "--host", host, "--rate", "40", "--run-time", "4s", *processes)
    summary = content(locust.results)["summary"]
    assert summary["unfinished"] == summary["failed"] == 0
    assert summary["latency_ms"]["max"]["value"] > 1_000
    assert summary["throughput"]["value"] < summary["offered_rate"]
    assert not [reason for reason in content(locust.results)["verdict"]["reasons"] if "lost" in reason]


def test_killing_the_server_gives_a_finished_run_with_failed_samples(stand_in, locust):
    host = stand_in("null")
    process = locust.start(*BASICS, "--host", host, "--rate", "100", "--run-time", "6s")
    wait_until(lambda: rows_of(locust.results) > 300)
    stand_in.kill()
    done = locust.wait(process)
    found = content(locust.results)
    # On a busy machine the generator may have been late as well, which makes the run invalid: exit code 2.
    assert done.returncode == {"fail": 1, "invalid": 2}[found["verdict"]["outcome"]]
    assert {judged["answer"] for judged in found["verdict"]["objective"]} == {"missed"}
    assert "Traceback" not in done.stdout + done.stderr
    assert found["summary"]["failed"] > 50
    assert found["summary"]["outcomes"]["connect"] > 50
    assert found["summary"]["latency_ms"]["p99"]["value"] is None


def test_two_processes_offer_one_plan_together(stand_in, locust):
    done = locust.run(*BASICS, "--host", stand_in("null"), "--rate", "200", "--run-time", "5s", "--processes", "2")
    run, summary = content(locust.results)["run"], content(locust.results)["summary"]
    table = pyarrow.parquet.read_table(locust.results / "samples.parquet").to_pylist()
    assert run["workers"] == 2
    assert {row["worker"] for row in table} == {0, 1}
    assert summary["planned"] == pytest.approx(800, abs=100)
    assert summary["sent"] == summary["planned"] == summary["ok"] + summary["wrong"]
    assert not [reason for reason in content(locust.results)["verdict"]["reasons"] if "lost" in reason], done.stderr


def test_a_lost_worker_makes_the_run_invalid(stand_in, locust):
    host = stand_in("null")
    process = locust.start(*BASICS, "--host", host, "--rate", "100", "--run-time", "8s", "--processes", "2")
    wait_until(lambda: rows_of(locust.results) > 200)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGKILL)
    done = locust.wait(process)
    assert done.returncode == 2
    assert "1 worker(s) lost" in content(locust.results)["verdict"]["reasons"][0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("processes", [(), ("--processes", "2")], ids=["one", "two"])
def test_an_interrupt_ends_the_run_in_order(stand_in, locust, number, processes):
    process = locust.start(*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "60s", *processes)
    wait_until(lambda: rows_of(locust.results) > 200)
    os.kill(process.pid, number)
    done = locust.wait(process)
    found = content(locust.results)
    assert done.returncode == 2
    assert found["verdict"]["outcome"] == "invalid"
    assert found["verdict"]["reasons"][0].startswith("interrupted: ")
    assert found["summary"]["unfinished"] == 0
    assert found["summary"]["planned"] > 50
    assert "Traceback" not in done.stdout + done.stderr


INTERRUPTED_AT_WORK = """
import os
import signal

from chatload.dispatcher import Dispatcher
from chatload.locust_adapter import Stream

wake = Dispatcher.wake

def interrupt_once_and_wake(dispatcher):
    if dispatcher.due_s > 2 and Dispatcher.wake is not wake:
        Dispatcher.wake = wake
        os.kill(os.getpid(), signal.SIGINT)
    wake(dispatcher)

Dispatcher.wake = interrupt_once_and_wake

class Interrupted(Stream):
    corpus = "corpus/support.tsv"
"""


def test_an_interrupt_while_an_arrival_is_sent_ends_the_run_in_order(stand_in, locust):
    scenario = locust.folder / "interrupted.py"
    scenario.write_text(INTERRUPTED_AT_WORK)
    done = locust.run(*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "60s", scenario=str(scenario))
    found = content(locust.results)
    assert done.returncode == 2
    assert found["verdict"]["reasons"][0].startswith("interrupted: ")
    assert found["summary"]["unfinished"] == 0
    assert "KeyboardInterrupt" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("limit", "count", "outcome"),
    [("p90<400ms", 2, "fail"), ("accuracy>0.1%", 1, "invalid")],
    ids=["missed", "not missed"],
)
def test_a_hopeless_run_is_ended_in_order(stand_in, locust, limit, count, outcome):
    host, processes = stand_in("null"), ("--processes", "2") if count == 2 else ()
    wanted = ("--warmup", "1s", "--objective", limit, "--abort-when", "errors>50% for 1s")
    process = locust.start("--headless", *wanted, "--host", host, "--rate", "200", "--run-time", "50s", *processes)
    wait_until(lambda: rows_of(locust.results) > 300)
    stand_in.kill()
    done = locust.wait(process, timeout_s=30)
    found = content(locust.results)
    blamed = [fault for fault in found["verdict"]["faults"] if "generator" in fault]  # on a busy machine
    assert found["verdict"]["outcome"] == ("invalid" if blamed else outcome), found["verdict"]
    assert done.returncode == {"fail": 1, "invalid": 2}[found["verdict"]["outcome"]]
    assert found["verdict"]["reasons"][0].startswith("aborted: errors>50%: ")
    assert found["summary"]["failed"] > 100
    assert found["summary"]["unfinished"] == 0
    assert not found["run"]["interrupted"]
    assert "Traceback" not in done.stdout + done.stderr


def test_a_killed_run_can_still_be_reported(stand_in, locust):
    process = locust.start(*BASICS, "--host", stand_in("null"), "--rate", "100", "--run-time", "60s")
    wait_until(lambda: rows_of(locust.results) > 200)
    before = rows_of(locust.results)
    process.kill()
    locust.wait(process)
    text = fold.show(locust.results)
    found = content(locust.results)
    assert "its processes were killed" in text
    assert found["verdict"]["outcome"] == "invalid"
    assert pyarrow.parquet.read_metadata(locust.results / "samples.parquet").num_rows >= before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rate", "-5"), "--rate -5.0: write a number of at least 0"),
        (("--rate", "inf"), "--rate inf: write a number"),
        (("--stream-rate", "0"), "--stream-rate 0.0: write a number above 0"),
        (("--warmup", "soon"), "--warmup: 'soon' is not a duration"),
        (("--warmup", "10s"), "--warmup 10s leaves nothing of --run-time 8s"),
        (("--objective", "p99<fast"), "'p99<fast': 'fast' is not a duration"),
        (("--abort-when", "errors<5%"), "--abort-when: 'errors<5%': errors is bad when above (>) its limit"),
        (("--abort-when", "errors>50%"), "--abort-when looks at 10 s, but only 3 s are measured"),
        (("--arrivals", "weibull"), "--arrivals 'weibull': choose one of"),
        (("--corpus", "/nowhere.tsv"), "corpus /nowhere.tsv: cannot be read (No such file or directory)"),
        (("--token-file", "/nowhere"), "token file /nowhere: cannot be read (No such file or directory); name the server's"),
        (("--host", "http://127.0.0.1:1"), "host http://127.0.0.1:1: cannot be reached"),
        (("--host", "nonsense"), "host 'nonsense' is not a URL"),
        (("--host", "http://no-such-host.invalid"), "the name 'no-such-host.invalid' does not resolve"),
        (("--max-in-flight", "1.5"), "invalid int value"),
        (("--users", "3"), "--users 3: --rate 10 makes 10 users of --stream-rate 1; leave --users out, or write --rate 0"),
        (("--ratte", "5"), "unrecognized arguments: --ratte"),
    ],
)
def test_a_mistake_is_refused_in_one_line_before_the_first_request(stand_in, locust, arguments, message):
    done = locust.run("--headless", "--host", stand_in("null"), "--rate", "10", "--run-time", "8s", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not locust.results.exists()


def test_users_that_contradict_the_rate_are_refused_with_the_web_ui_too(locust):
    done = locust.run("--host", "http://127.0.0.1:1", "--rate", "10", "--users", "3", "--web-port", str(free_port()))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("chatload: --users 3: --rate 10 makes 10 users")
    assert "Traceback" not in done.stderr


def test_options_can_be_checked_without_a_server(locust):
    plan = ("--headless", "--host", "http://127.0.0.1:1", "--check")
    done = locust.run(*plan)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for mistake in (("--objective", "fast"), ("--corpus", "/nowhere.tsv"), ("--arrivals", "trace:/nowhere.csv")):
        done = locust.run(*plan, *mistake)
        assert done.returncode == 2
        assert mistake[1].removeprefix("trace:") in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert not locust.results.exists()


def test_a_results_folder_is_never_overwritten(stand_in, locust):
    locust.results.mkdir()
    (locust.results / "precious").write_text("data")
    done = locust.run(*BASICS, "--host", stand_in("null"), "--rate", "10", "--run-time", "3s")
    assert done.returncode == 2
    assert "exists and is not empty" in done.stderr
    assert [path.name for path in locust.results.iterdir()] == ["precious"]


def test_the_web_ui_shows_the_run_and_editing_users_changes_the_rate(stand_in, locust):
    port = free_port()
    process = start_ui(locust, stand_in("null"), port, rate=50)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: reachable(url))
    page = urllib.request.urlopen(url).read().decode()
    options = (
        "rate",
        "stream_rate",
        "arrivals",
        "sessions",
        "corpus",
        "seed",
        "warmup",
        "timeout",
        "objective",
        "token_file",
    )
    for option in options:
        assert f'"{option}"' in page
    start(url, user_count=50)
    wait_until(lambda: rows_of(locust.results) > 100)
    assert stats(url)["user_count"] == 50
    start(url, user_count=200)  # the same call edits a running test
    edited = rows_of(locust.results)
    time.sleep(2)
    assert rows_of(locust.results) - edited > 250
    urllib.request.urlopen(f"{url}/stop", b"").read()
    wait_until(lambda: content(locust.results)["verdict"] is not None)
    shown = next(entry for entry in stats(url)["stats"] if entry["name"] == contract.PATH)
    table = pyarrow.parquet.read_metadata(locust.results / "samples.parquet")
    assert shown["num_requests"] == table.num_rows
    assert shown["num_failures"] == 0
    found = content(locust.results)
    assert [users for _, users in found["run"]["edits"]] == [200]
    process.send_signal(signal.SIGTERM)
    done = locust.wait(process)
    assert done.stdout.count("run folder") == 1
    assert re.search(r"poisson arrivals at 50/s, from \S+ s on 200/s, for ", done.stdout)


def test_the_web_ui_and_the_master_listen_on_loopback_only(stand_in, locust):
    port, bind = free_port(), free_port()
    master = ("--master", "--master-bind-port", str(bind), "--web-port", str(port))
    process = locust.start("--host", stand_in("null"), "--rate", "10", *master)
    wait_until(lambda: reachable(f"http://127.0.0.1:{port}"))
    listening = [c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.port for address in listening} == {port, bind}
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_rate_typed_into_the_form_sets_the_users(stand_in, locust):
    port = free_port()
    process = start_ui(locust, stand_in("null"), port, rate=10)
    url = f"http://127.0.0.1:{port}"
    wait_until(lambda: reachable(url))
    start(url, user_count=10, rate="120")
    wait_until(lambda: stats(url)["user_count"] == 120)
    wait_until(lambda: rows_of(locust.results) > 200)
    process.send_signal(signal.SIGTERM)
    locust.wait(process)
    assert content(locust.results)["run"]["rate"] == 120


def test_a_run_of_the_web_ui_lasts_its_whole_time(stand_in, locust):
    """Locust's timer begins with the request, the generator a little later."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = start_ui(locust, stand_in("null"), port, 100)
    wait_until(lambda: reachable(url))
    start(url, user_count=100, run_time="3s")
    wait_until(lambda: (locust.results / "report.html").exists())
    process.send_signal(signal.SIGTERM)
    done = locust.wait(process)
    assert content(locust.results)["run"]["duration_s"] == 3.0, done.stderr


# --- helpers -------------------------------------------------------------------------------------------------------


def reachable(url: str) -> bool:
    try:
        return urllib.request.urlopen(url).status == 200
    except OSError:
        return False


def start(url: str, **fields: object) -> None:
    form = urllib.parse.urlencode({"spawn_rate": 200, **fields}).encode()
    answer = json.loads(urllib.request.urlopen(f"{url}/swarm", form).read())
    assert answer["success"], answer


def start_ui(locust, host: str, port: int, rate: int):
    return locust.start("--host", host, "--rate", str(rate), "--warmup", "0s", "--web-port", str(port))


def stats(url: str) -> dict:
    time.sleep(2.1)  # Locust keeps this answer for two seconds
    return json.loads(re.sub(r"\bNaN\b", "null", urllib.request.urlopen(f"{url}/stats/requests").read().decode()))
