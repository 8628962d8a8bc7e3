"""A stand-in for one server with several models: a script for conftest.ScriptedServer that answers by the request's path."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping

_PATH = re.compile(rb"POST /predictions/(\S+) ")
_LENGTH = re.compile(rb"Content-Length: (\d+)\r\n")


def _request(data: bytes) -> tuple[str, bytes]:
    """(name of the model, what follows) of the first request in ``data``; an empty name while it is not whole."""
    head, end, body = data.partition(b"\r\n\r\n")
    path, length = _PATH.match(head), _LENGTH.search(head + b"\r\n")
    if not end or path is None or length is None or len(body) < int(length[1]):
        return "", data
    return path[1].decode(), body[int(length[1]) :]


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
        self._statuses = {} if statuses is None else statuses
        self._lock = threading.Lock()
        self.asked: Counter[str] = Counter()

    def __call__(self, connection: socket.socket) -> None:
        data = b""
        while received := connection.recv(65_536):
            data += received
            name, data = _request(data)
            if not name:
                continue
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
