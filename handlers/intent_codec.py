"""The codec: bytes of a request to its text, answers and errors to bytes.

This module knows JSON and the contract (CONTRACT.md). It knows nothing of models, tensors or servers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

MAX_TEXT_BYTES = 8192

MESSAGES = {
    "invalid_utf8": "the body is not valid UTF-8; send JSON encoded as UTF-8",
    "invalid_json": 'the body is not valid JSON; send an object like {"text": "where is my order"}',
    "not_an_object": 'the body is JSON but not an object; send an object like {"text": "where is my order"}',
    "missing_text": 'the object has no "text"; add the utterance as "text"',
    "wrong_type": '"text" is not a string; send the utterance as a JSON string',
    "blank_text": '"text" is blank; send at least one character that is not white space',
    "text_too_long": f'"text" is longer than {MAX_TEXT_BYTES} bytes of UTF-8; shorten it',
    "unsupported_media_type": "the server was given form fields, not a body; send JSON as the request's body "
    "with the header Content-Type: application/json",
    "internal": "the model failed to answer this request; its log says why",
}


class BadRequest(Exception):
    """The caller's mistake: a status (400, 413 or 415), a code that programs read and a message that people read."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


def refuse(status: int, code: str) -> NoReturn:
    """Raise the BadRequest of a code; its message is the same for everybody, so that golden answers can be exact."""
    raise BadRequest(status, code, MESSAGES[code])


def decode(body: bytes) -> str:
    """Return the text of a request's body: UTF-8 JSON, an object with a "text" of 1 to 8192 bytes.

    Fields other than "text" are ignored; of fields given twice the last counts. Raises BadRequest, and nothing else.
    """
    parsed = parse(body)
    if not isinstance(parsed, dict):
        refuse(400, "not_an_object")
    if "text" not in parsed:
        refuse(400, "missing_text")
    text = parsed["text"]
    if not isinstance(text, str):
        refuse(400, "wrong_type")
    if byte_length(text) > MAX_TEXT_BYTES:
        refuse(413, "text_too_long")
    if not text.strip():
        refuse(400, "blank_text")
    return text


def parse(body: bytes) -> Any:
    """Return the JSON value of a body. Raises BadRequest where it is not UTF-8, or not JSON."""
    try:
        source = bytes(body).decode("utf-8")
    except UnicodeDecodeError:
        refuse(400, "invalid_utf8")
    try:
        return _decode_json(source)
    except (ValueError, RecursionError):
        refuse(400, "invalid_json")


def byte_length(text: str) -> int:
    """Return how many bytes a text is in UTF-8. Raises BadRequest for half a surrogate pair, which has no UTF-8."""
    try:
        return len(text.encode("utf-8"))
    except UnicodeEncodeError:
        refuse(400, "invalid_utf8")


def encode(answer: Mapping[str, Any]) -> bytes:
    """Return an answer as compact JSON in UTF-8. Raises ValueError where a number is not finite: JSON has none such."""
    return _encode_json(answer).encode("utf-8")


def encode_error(code: str, message: str) -> bytes:
    """Return an error as the contract's body: {"error":{"code":...,"message":...}}."""
    return encode({"error": {"code": code, "message": message}})


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is Python's, not JSON's")


# Made once: json.loads and json.dumps with settings of one's own make a new one for each request.
# int() needs quadratic time for a number of a million digits; float() does not, and no number is ever used.
_decode_json = json.JSONDecoder(parse_int=float, parse_constant=_refuse_constant).decode
_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
