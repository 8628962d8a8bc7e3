"""Contract: the request of CONTRACT.md, as bytes on the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlsplit

MODEL = "intent"
_PREDICTIONS = "/predictions/"
PATH = _PREDICTIONS + MODEL


class HostError(ValueError):
    """A host that cannot be used as a target; the message says what is wrong and what would be right."""


def split_host(url: str, model: str = MODEL) -> tuple[bool, str, int, str]:
    """(https?, host name, port, path of a model's predictions) of a target's URL, such as http://127.0.0.1:8080.

    A path in the URL stands before the contract's path (a server behind a proxy). Raises HostError.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise HostError(f"host {url!r} is not a URL ({error}): write for example http://127.0.0.1:8080") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise HostError(f"host {url!r} is not a URL: write for example http://127.0.0.1:8080")
    if parts.query or parts.fragment or parts.username:
        raise HostError(f"host {url!r} has more than scheme, host, port and path: leave the rest out")
    https = parts.scheme == "https"
    return https, parts.hostname, port or (443 if https else 80), parts.path.rstrip("/") + _PREDICTIONS + model


class Requests:
    """The requests to a model for the utterances of a corpus, as bytes; made when first asked for and kept.

    ``vary`` gives the text that a variant above 0 makes of an utterance's. Those are made anew each time: there is no end to
    them. Few headers on purpose: TorchServe's worker makes several system calls for each.
    """

    def __init__(
        self, texts: list[str], url: str, token: str, vary: Callable[[str, int], str] | None = None, model: str = MODEL
    ) -> None:
        _, host, port, path = split_host(url, model)
        shown = f"[{host}]" if ":" in host else host
        self._head = f"POST {path} HTTP/1.1\r\nHost: {shown}:{port}\r\nContent-Type: application/json\r\n"
        self._texts = texts
        self._vary = vary
        self.set_token(token)

    def set_token(self, token: str) -> None:
        """From now on, requests carry this bearer token (empty: none)."""
        authorization = f"Authorization: Bearer {token}\r\n" if token else ""
        self._prefix = (self._head + authorization + "Content-Length: ").encode("latin-1")
        self._made = [b""] * len(self._texts)

    def __call__(self, utterance: int, variant: int = 0) -> bytes:
        if variant:
            assert self._vary is not None
            return self._request(self._vary(self._texts[utterance], variant))
        made = self._made[utterance]
        if not made:
            made = self._made[utterance] = self._request(self._texts[utterance])
        return made

    def _request(self, text: str) -> bytes:
        body = json.dumps({"text": text}, ensure_ascii=False).encode()
        return self._prefix + str(len(body)).encode() + b"\r\n\r\n" + body


class TokenError(ValueError):
    """A token file that cannot be used; the message never holds the token."""


def parse_token(text: str, name: str) -> str:
    """The inference token in the text of a token file: the token alone, or TorchServe's key_file.json.

    Raises TokenError.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            text = json.loads(text)["inference"]["key"]
        except (ValueError, KeyError, TypeError):
            raise TokenError(f"token file {name}: JSON without inference.key: give TorchServe's key_file.json") from None
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable() or " " in text:
        raise TokenError(f"token file {name}: no token in it: write the token alone, or give TorchServe's key_file.json")
    return text
