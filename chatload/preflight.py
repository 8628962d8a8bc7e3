"""Preflight: one request before the first arrival, so that a run that cannot work never starts."""

from __future__ import annotations

import http.client
import ssl

import msgspec

from chatload import contract

_STRANGERS = (404, 405, 501)  # from a server without a body that TorchServe would send: it is another


class PreflightError(ValueError):
    """The target does not answer as the contract says; the message names it and says what to do."""


class _Answer(msgspec.Struct):
    intent: str
    model: str
    version: str


class _ServerError(msgspec.Struct):
    """TorchServe's own error body, which answers for a wrong token."""

    message: str = ""


def check(
    url: str, tls: ssl.SSLContext, token: str, text: str, timeout_s: float, model: str = contract.MODEL
) -> dict[str, str]:
    """A model behind ``url`` as {"name", "version"}, from its answer to ``text``. Raises PreflightError."""
    https, host, port, path = contract.split_host(url, model)
    connection: http.client.HTTPConnection
    if https:
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
    else:
        connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    try:
        connection.request("POST", path, msgspec.json.encode({"text": text}), headers)
        response = connection.getresponse()
        status, body = response.status, response.read()
    except ssl.SSLError as error:
        raise PreflightError(f"host {url}: no secure connection ({error.reason or error})") from error
    except TimeoutError as error:
        raise PreflightError(f"host {url}: no answer within {timeout_s:g} s; is the server up?") from error
    except (OSError, http.client.HTTPException) as error:
        raise PreflightError(
            f"host {url}: cannot be reached ({error}); start it, for example with make serve-cpu"
        ) from error
    finally:
        connection.close()
    return _model(url, model, status, body, bool(token))


def _model(url: str, model: str, status: int, body: bytes, with_token: bool) -> dict[str, str]:
    if status != 200:
        said = _explain(status, body, with_token)
        raise PreflightError(f"host {url}: the trial request to {model} was answered {status}: {said}")
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except msgspec.DecodeError as error:
        raise PreflightError(f"host {url}: the answer is not the contract's (CONTRACT.md): {error}") from error
    return {"name": answer.model, "version": answer.version}


def _explain(status: int, body: bytes, with_token: bool) -> str:
    try:
        message = msgspec.json.decode(body, type=_ServerError).message
    except msgspec.DecodeError:
        message = ""
    if "Token" in message or status in (401, 403):
        another = "another token, or is not the server's inference port" if with_token else "a token"
        return f"it wants {another}; name the server's token file with --token-file (make: TOKEN_FILE=)"
    if not message and status in _STRANGERS:
        return "is it a server of such a model (CONTRACT.md)?"
    return message or "see the server's log"
