"""The golden pairs, against the handlers in this process and against a real TorchServe."""

from __future__ import annotations

import base64
import http.client
import json
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jsonschema
import machine
import pytest
import tiny
import yaml
from intent_codec import MESSAGES
from intent_service import IntentService
from openapi_spec_validator import validate

from model.command import main
from model.parity import model_class
from model.recipes import TARGETS

CONTRACT = Path(__file__).resolve().parents[2] / "contract"
OPENAPI = yaml.safe_load((CONTRACT / "openapi.yaml").read_text(encoding="utf-8"))
CASES = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(CONTRACT.glob("*.json"))]
HANDLED = [case for case in CASES if case["answered_by"] == "handler"]


def called(case):
    return case["name"]


def schema(name):
    """Return a schema of the contract with its references."""
    return {"$ref": f"#/components/schemas/{name}", "components": OPENAPI["components"]}


def body_of(request):
    if "body_base64" in request:
        return base64.b64decode(request["body_base64"])
    return request["body"].encode("utf-8")


def check(case, status, headers, body):
    """Hold an answer against a case's response."""
    wanted = case["response"]
    assert status == wanted["status"], body
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, value in wanted["headers"].items():
        assert lowered[name.lower()] == value
    parsed = json.loads(body)
    if "json" in wanted:
        assert parsed == wanted["json"]
        return
    jsonschema.validate(parsed, schema(wanted["schema"]))
    jsonschema.validate(lowered["server-timing"], schema("ServerTiming"))
    assert {key: parsed[key] for key in wanted["matches"]} == wanted["matches"]
    assert body == json.dumps(parsed, ensure_ascii=False, separators=(",", ":")).encode()


# For this module alone: what comes after it shall not find the doubles' devices.
@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """The handler of each target with one tiny model; the accelerators are doubles."""
    folder = tmp_path_factory.mktemp("golden")
    with machine.inferentia(folder, 4), machine.gpu(folder):
        yield {target: service_of(folder, target) for target in TARGETS}


def service_of(folder, target):
    made = IntentService()
    made.model = model_class(target)(tiny.tiny_artefact(folder / target, target=target))
    return made


@pytest.fixture(scope="module")
def service(services):
    return services["cpu"]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", HANDLED, ids=called)
def test_the_handlers_answer_as_agreed(services, case, target):
    body = body_of(case["request"])
    is_form = "form" in case["request"]["headers"]["Content-Type"]
    reply = services[target].reply_to(parse_qs(body.decode()) if is_form else {"body": body})
    check(case, reply.status, reply.headers, reply.body)


@pytest.fixture(scope="session")
def real(request, tmp_path_factory):
    """A real TorchServe: its record and its token. The one that --served names, else one with the tiny model."""
    served = request.config.getoption("--served", None)
    if served is not None:
        record = json.loads((Path(served) / "server.json").read_text())
        yield record, json.loads(Path(record["token_file"]).read_text())["inference"]["key"]
        return
    folder = tmp_path_factory.mktemp("real")
    state = folder / "state"
    archive = tiny.tiny_archive(folder)
    assert main(tiny.start_command(state, archive)) == 0
    record = json.loads((state / "server.json").read_text())
    yield record, json.loads((state / "key_file.json").read_text())["inference"]["key"]
    assert main(["serve", "stop", "--state", str(state)]) == 0


def send(real, request):
    """Send a case's request and return status, headers and body."""
    record, token = real
    connection = http.client.HTTPConnection(urlsplit(record["url"]).netloc, timeout=30)
    try:
        headers = {"Authorization": f"Bearer {token}", **request["headers"]}
        connection.request(request["method"], request["path"], body_of(request), headers)
        response = connection.getresponse()
        values = response.getheaders()
        names = [name.lower() for name, _ in values]
        assert names.count("content-type") == 1
        return response.status, dict(values), response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("case", CASES, ids=called)
def test_a_real_server_answers_as_agreed(real, case):
    check(case, *send(real, case["request"]))


def test_a_missing_token_is_refused_as_a_wrong_one_is(real):
    record, _ = real
    case = next(case for case in CASES if case["name"] == "server_bad_token")
    connection = http.client.HTTPConnection(urlsplit(record["url"]).netloc, timeout=30)
    connection.request("POST", case["request"]["path"], body_of(case["request"]), {"Content-Type": "application/json"})
    response = connection.getresponse()
    check(case, response.status, dict(response.getheaders()), response.read())
    connection.close()


def test_a_body_beyond_the_server_s_limit_is_413_without_a_body(real):
    request = {"method": "POST", "path": "/predictions/intent", "headers": {"Content-Type": "application/json"}}
    body = json.dumps({"text": "a", "rest": "b" * 6_553_500})
    record, token = real
    connection = http.client.HTTPConnection(urlsplit(record["url"]).netloc, timeout=30)
    headers = {"Authorization": f"Bearer {token}", "Expect": "100-continue", **request["headers"]}
    connection.request("POST", request["path"], None, {**headers, "Content-Length": str(len(body))})
    response = connection.getresponse()
    assert (response.status, response.read()) == (413, b"")
    connection.close()


def test_quiet_logs_say_nothing_of_requests(real):
    record, _ = real
    log = Path(record["token_file"]).parent / "logs" / "server.log"
    case = next(case for case in CASES if case["name"] == "answer_short")
    send(real, case["request"])
    before = log.read_text()
    for _ in range(20):
        assert send(real, case["request"])[0] == 200
    assert log.read_text() == before


def test_answers_are_the_same_here_and_there(real, service):
    """TorchServe adds nothing to an answer and takes nothing from it."""
    record, _ = real
    for case in HANDLED:
        if case["response"]["status"] != 200:
            continue
        _, _, there = send(real, case["request"])
        here = service.reply_to({"body": body_of(case["request"])}).body
        a, b = json.loads(there), json.loads(here)
        assert a.pop("version") == record["version"]
        assert b.pop("version") == "1"
        assert a == b


def test_the_openapi_document_is_valid():
    validate(OPENAPI)


def test_every_error_code_has_a_golden_case_or_is_internal():
    listed = OPENAPI["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]
    shown = {case["response"]["json"]["error"]["code"] for case in HANDLED if "json" in case["response"]}
    assert set(listed) == set(MESSAGES) == shown | {"internal"}


def test_every_golden_error_is_in_the_schema_and_the_page():
    page = (CONTRACT.parent / "CONTRACT.md").read_text(encoding="utf-8")
    for case in CASES:
        wanted = case["response"]
        if "json" not in wanted:
            continue
        kind = "Error" if case["answered_by"] == "handler" else "ServerError"
        jsonschema.validate(wanted["json"], schema(kind))
        if kind == "Error":
            assert f"`{wanted['json']['error']['code']}`" in page
        assert re.search(rf"^\| {wanted['status']} \|", page, re.MULTILINE)


def test_file_names_are_case_names():
    assert sorted(path.stem for path in CONTRACT.glob("*.json")) == sorted(case["name"] for case in CASES)


def test_the_page_s_example_answer_has_the_schema_s_fields_in_order():
    page = (CONTRACT.parent / "CONTRACT.md").read_text(encoding="utf-8")
    answer = page[page.index('{"intent"') : page.index("```", page.index('{"intent"'))]
    fields = re.findall(r'"(\w+)":', answer.replace('{"intent":"delivery_time","confidence":0.011034}', ""))
    assert fields == OPENAPI["components"]["schemas"]["Answer"]["required"]
