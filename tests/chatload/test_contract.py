from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatload import contract


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("http://127.0.0.1:8080", (False, "127.0.0.1", 8080, "/predictions/intent")),
        ("https://example.test/", (True, "example.test", 443, "/predictions/intent")),
        ("http://[::1]:1/behind/proxy/", (False, "::1", 1, "/behind/proxy/predictions/intent")),
    ],
)
def test_a_host_is_taken_apart(url, parts):
    assert contract.split_host(url) == parts


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://x", "http://", "http://x:abc", "http://x:99999", "http://x?y", "http://u@x"]
)
def test_what_is_no_host_is_refused_by_name(url):
    with pytest.raises(contract.HostError, match=re.escape(repr(url))):
        contract.split_host(url)


@given(st.text(min_size=1))
def test_a_request_carries_its_utterance(text):
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # half a surrogate pair cannot come from a UTF-8 file
    head, _, body = contract.Requests([text], "http://h:80", "secret")(0).partition(b"\r\n\r\n")
    assert json.loads(body) == {"text": text}
    assert b"Content-Length: %d" % len(body) in head
    assert b"Authorization: Bearer secret" in head


def test_a_new_token_makes_new_requests():
    requests = contract.Requests(["a"], "http://h:80", "")
    assert b"Authorization" not in requests(0)
    requests.set_token("next")
    assert b"Bearer next" in requests(0)


def test_a_token_is_read_alone_or_from_torchserves_key_file():
    assert contract.parse_token("abc\n", "f") == "abc"
    assert contract.parse_token('{"inference": {"key": "k"}, "management": {"key": "m"}}', "f") == "k"


@pytest.mark.parametrize(
    "text", ["", "two words", "{}", '{"inference": 1}', "ünicode", "{broken", '{"inference": {"key": 5}}']
)
def test_a_file_without_a_token_is_refused_without_showing_it(text):
    with pytest.raises(contract.TokenError, match="token file f") as refusal:
        contract.parse_token(text, "f")
    assert not text or text not in str(refusal.value)
