"""Answer: what the client reads of the server's answer: its intent and tokens, and the server's own timing (CONTRACT.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from chatload import samples

_MOST_TOKENS = 65_535  # that a row can hold
_MOST_MS = 1e9  # of a server's step: eleven days, and a row can hold it


class _Answer(msgspec.Struct):
    """What the client reads of the contract's answer; the rest of the body is not decoded."""

    intent: str
    tokens: int = 0


_decode_answer = msgspec.json.Decoder(_Answer).decode

_Milliseconds = Annotated[float, msgspec.Meta(ge=0, le=_MOST_MS)]
_decode_ms = msgspec.json.Decoder(_Milliseconds).decode  # in half the time that float() takes for bytes


def intent_and_tokens(body: bytes) -> tuple[str | None, int]:
    """(intent, tokens) of an answer's body; (None, 0) for one that is not the contract's."""
    try:
        answer = _decode_answer(body)
    except msgspec.DecodeError:
        return None, 0
    tokens = answer.tokens
    if not 0 <= tokens <= _MOST_TOKENS:
        tokens = min(max(tokens, 0), _MOST_TOKENS)
    return answer.intent, tokens


def server_timing(header: bytes) -> tuple[float, float]:
    """Milliseconds of the steps ``tokenize`` and ``infer`` in a Server-Timing header (W3C); NaN for one that is none."""
    # As the contract's own handlers write it; taking any other apart takes four times as long.
    tokenize, _, infer = header.partition(b", infer;dur=")
    if tokenize.startswith(b"tokenize;dur="):
        try:
            return _decode_ms(tokenize[13:]), _decode_ms(infer)
        except msgspec.DecodeError:
            pass
    found = {b"tokenize": samples.NEVER, b"infer": samples.NEVER}
    for entry in header.split(b","):
        name, _, parameters = entry.strip().partition(b";")
        duration = parameters.partition(b"dur=")[2].partition(b";")[0]
        if name in found and duration:
            try:
                duration_ms = float(duration)
            except ValueError:
                continue
            if 0 <= duration_ms <= _MOST_MS:
                found[name] = duration_ms
    return found[b"tokenize"], found[b"infer"]
