"""The service: what every target's TorchServe skin shares. It moves bytes between TorchServe and the model.

TorchServe wants exactly one class in the module that an archive names as its handler, so this class lives here and a
target's module holds a subclass of two lines.
"""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

from intent_codec import MESSAGES
from intent_model import IntentModel, Reply, error_reply
from worker_log import quiet
from worker_socket import read_ahead

THREADS_ENV = "INTENT_THREADS"


class IntentService:
    """TorchServe's side of an intent model: initialize once, then handle lists of requests."""

    model_class: type[IntentModel] = IntentModel

    def initialize(self, ctx: Any) -> None:
        """Load the model from the folder that TorchServe unpacked. Raises BadArtefact: the worker does not start."""
        quiet(ctx)
        folder = Path(ctx.system_properties["model_dir"])
        self.model = self.model_class(folder, threads_of(ctx.model_yaml_config or {}))
        read_ahead(self.model.rehearse)

    def handle(self, data: list[dict[str, Any]], ctx: Any) -> list[bytes]:
        """Return one body per request; statuses and headers go through ctx."""
        return [self.respond(fields, index, ctx) for index, fields in enumerate(data)]

    def respond(self, fields: dict[str, Any], index: int, ctx: Any) -> bytes:
        """Answer one request: set its status and headers, return its body."""
        reply = self.reply_to(fields)
        ctx.set_response_status(reply.status, HTTPStatus(reply.status).phrase, index)
        for name, value in reply.headers.items():
            ctx.set_response_header(index, name, value)
        return reply.body

    def reply_to(self, fields: dict[str, Any]) -> Reply:
        """Return the reply to what TorchServe made of one request: {"body": bytes}, or form fields by their names."""
        if "body" not in fields:
            return error_reply(415, "unsupported_media_type", MESSAGES["unsupported_media_type"])
        return self.model.answer(raw(fields["body"]))


def threads_of(settings: dict[str, Any]) -> int:
    """Return the CPU threads of one inference: INTENT_THREADS, else "threads" in model-config.yaml, else 1."""
    return int(os.environ.get(THREADS_ENV) or settings.get("threads", 1))


def raw(body: Any) -> bytes:
    """Return a body as bytes. A server without decode_input_request=false hands over text or a parsed JSON value."""
    if isinstance(body, (bytes, bytearray)):
        return bytes(body)
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    return json.dumps(body).encode("utf-8")
