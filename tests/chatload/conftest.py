"""Servers for tests: real sockets on free loopback ports, stopped by their own handle."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chatload.runs import free_port

ROOT = Path(__file__).resolve().parents[2]


class ScriptedServer:
    """Accepts connections in threads and hands each to a script, which reads and writes as the test wants."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):  # the client may have gone, as some tests want
            self._script(accepted)

    def close(self) -> None:
        # accept() in the thread returns only when the socket is shut down, not when it is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[socket.socket], None]], ScriptedServer]]:
    servers: list[ScriptedServer] = []

    def start(script: Callable[[socket.socket], None]) -> ScriptedServer:
        servers.append(ScriptedServer(script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


class Locust:
    """A real locust process with a scenario of this project, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "run"
        self._started: list[subprocess.Popen] = []

    def start(self, *arguments: str, scenario: str = "locustfiles/chatbot.py") -> subprocess.Popen:
        command = [sys.executable, "-m", "locust", "-f", str(ROOT / scenario), "--skip-log-setup", *arguments]
        command += ["--results", str(self.results)]
        if "--processes" in arguments and "--master-port" not in arguments:
            port = str(free_port())  # Locust's own, 5557, may be another's
            command += ["--master-bind-port", port, "--master-port", port]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        self._started.append(process)
        return process

    def run(self, *arguments: str, timeout_s: float = 60, **keywords: str) -> subprocess.CompletedProcess:
        process = self.start(*arguments, **keywords)
        return self.wait(process, timeout_s)

    def wait(self, process: subprocess.Popen, timeout_s: float = 60) -> subprocess.CompletedProcess:
        out, err = process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def end(self) -> None:
        """Ends what a test has left running, workers and all."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def locust(tmp_path: Path) -> Iterator[Locust]:
    started = Locust(tmp_path)
    yield started
    started.end()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Debian's Chromium without a window; the test brings none of its own."""
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    with contextlib.closing(started):
        yield started
    started.quit()
