"""A stand-in for one server with several models: a script for conftest.ScriptedServer that answers by the request's path."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping

_REQUEST = re.compile(rb"POST /predictions/(\S+) HTTP/1.1\r\n.*?Content-Length: (\d+)\r\n\r\n", re.DOTALL)


class Models:
    """Answers each model by its name with its label; ``before`` is called with the name first, and may take its time.

    A name in ``statuses`` is answered with that status. ``asked`` counts the requests by name.
    """

    def __init__(
        self,
        labels: Mapping[str, str],
        before: Callable[[str], object] = lambda name: None,
        statuses: Mapping[str, int] | None = None,
    ) -> None:
        self._labels = labels
        self._before = before
        self._statuses = statuses or {}
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()

    def __call__(self, connection: socket.socket) -> None:
        data = b""
        while received := connection.recv(65_536):
            data += received
            found = _REQUEST.match(data)
            if found is None or len(data) < found.end() + int(found[2]):
                continue
            data = data[found.end() + int(found[2]) :]
            name = found[1].decode()
            with self._lock:
                self.asked[name] += 1
            self._before(name)
            connection.sendall(self._answer(name))

    def _answer(self, name: str) -> bytes:
        status = self._statuses.get(name, 200 if name in self._labels else 404)
        if status == 200:
            answer = {
                "intent": self._labels[name],
                "confidence": 1.0,
                "model": f"{name}-stand-in",
                "version": "1",
                "tokens": 5,
            }
        else:
            answer = {"code": status, "type": "Refused", "message": "refused"}
        body = json.dumps(answer).encode()
        head = (
            f"HTTP/1.1 {status} \r\nServer-Timing: tokenize;dur=0.25, infer;dur=1.50\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body
