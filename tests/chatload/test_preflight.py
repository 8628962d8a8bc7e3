"""What the trial request's answer says about a target, and what to do."""

from __future__ import annotations

import json

import pytest

from chatload import preflight

REFUSED = json.dumps({"code": 400, "type": "InvalidTokenException", "message": "Token Authorization failed"}).encode()
PAGE = b"<html><body>Error response</body></html>"


@pytest.mark.parametrize(
    ("status", "body", "with_token", "advice"),
    [
        (400, REFUSED, False, "it wants a token; name the server's token file with --token-file (make: TOKEN_FILE=)"),
        (400, REFUSED, True, "it wants another token, or is not the server's inference port; name the server's token file"),
        (401, b"", False, "it wants a token"),
        (501, PAGE, False, "is it a server of such a model (CONTRACT.md)?"),
        (404, PAGE, True, "is it a server of such a model (CONTRACT.md)?"),
        (404, b'{"message": "Model not found: act"}', True, "Model not found: act"),
        (500, PAGE, True, "see the server's log"),
    ],
)
def test_a_refused_trial_says_what_to_do(status, body, with_token, advice):
    with pytest.raises(preflight.PreflightError) as refused:
        preflight._model("http://127.0.0.1:1", "intent", status, body, with_token)
    said = f"host http://127.0.0.1:1: the trial request to intent was answered {status}: {advice}"
    assert str(refused.value).startswith(said)
