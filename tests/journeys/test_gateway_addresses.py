"""The gateway's own addresses, and what its edge refuses, over raw HTTP."""

import json
import socket
from datetime import UTC, datetime
from http.client import HTTPConnection
from time import sleep
from typing import Any

import openai
import pytest

from keys.secrets import make_secret
from tests.journeys import configuration
from tests.journeys.raw_http import Answer, post
from tests.journeys.receipts import get, receipt
from tests.loopback import wait_until

SECRET, OTHER = make_secret(), make_secret()
CHAT = "/v1/chat/completions"
BODY = b'{"model": "gpt", "messages": [{"role": "user", "content": "Hello?"}]}'
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def gateway(install, upstream):
    config = {
        "providers": configuration.providers(upstream, timeout_seconds=20),
        "models": [
            configuration.model("gpt", ("fake-openai", "gpt-up")),
            configuration.model("claude", ("fake-anthropic", "claude-up")),
            configuration.every_behaviour("openai"),
        ],
        "prices": [configuration.price("fake-openai"), configuration.price("fake-anthropic")],
        "teams": [
            configuration.team(
                "research",
                SECRET,
                {"unit": "requests", "window": "minute", "ceiling": 500},
                {"unit": "usd", "window": "month", "ceiling": "5.00"},
                timezone="Asia/Kolkata",
            ),
            configuration.team("walled", OTHER, models=["gpt"]),
        ],
    }
    environment = {"CORS_ALLOWED_ORIGINS": "https://app.example"}
    return install(config=config, environment=environment).start()


@pytest.fixture
def secret():
    return SECRET


def ask(gateway: Any, method: str, path: str, **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, received, answer.read())
    finally:
        connection.close()


def test_F38_a_revoked_keys_stream_ends_with_an_error(gateway):
    dying = gateway.create_key("research", "dying")
    with openai.OpenAI(base_url=gateway.openai_url, api_key=dying, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="openai/endless", messages=[{"role": "user", "content": "go"}], stream=True
        )
        next(iter(stream))
        assert post(gateway, "/v1/keys/revoke", b"", dying).status == 200
        with pytest.raises(openai.APIError, match="revoked"):
            for _ in stream:
                pass
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "x-goog-api-key"])
def test_OAI_04_a_key_goes_in_any_of_the_usual_headers(gateway, header):
    assert ask(gateway, "GET", "/v1/models", **{header: SECRET}).status == 200


def test_R13_two_different_keys_in_one_request_are_refused(gateway):
    answer = post(gateway, CHAT, BODY, SECRET, x_api_key=OTHER)
    assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_request_error")


def test_a_key_in_the_query_string_is_refused(gateway):
    assert ask(gateway, "GET", f"/v1/models?key={SECRET}").status in (400, 401)


def test_the_end_user_and_tags_reach_the_ledger(gateway):
    answer = post(
        gateway, CHAT, BODY, SECRET, X_User_ID="jos\u00e9".encode().decode("latin-1"),
        X_Gateway_Tags="project=caf\u00e9,env=prod".encode().decode("latin-1"),
    )  # fmt: skip
    assert receipt(gateway, answer.headers["x-request-id"], SECRET)["entries"]
    today = datetime.now(UTC).date()
    rows = gateway.manage(
        "export_costs", "--from", str(today), "--to", str(today), "--timezone", "UTC"
    )
    assert "josé,env=prod;project=café," in rows


@pytest.mark.parametrize(
    ("header", "named", "kept"),
    [
        ({"X_User_ID": "jos\u00e9".encode().decode("latin-1")}, {"user": "ann"}, "josé"),
        ({}, {"user": "ann"}, "ann"),
        ({"X_User_ID": "\xff"}, {"user": "ann"}, ""),
    ],
)
def test_a_refused_call_is_kept_with_its_end_user(gateway, header, named, kept):
    body = json.dumps(json.loads(BODY) | named | {"model": "nowhere"}).encode()
    answer = post(gateway, CHAT, body, SECRET, **header)
    assert answer.status in (400, 404)
    asks = (
        "from billing.models import RefusedCall;"
        f"print([r.end_user for r in RefusedCall.objects.filter("
        f"request_id='{answer.headers['x-request-id']}')])"
    )

    def rows() -> str:
        return str(gateway.manage("shell", "--verbosity", "0", "--command", asks)).strip()

    wait_until(lambda: rows() != "[]", "the refusal is written")
    assert rows() == f"[{kept!r}]"


@pytest.mark.parametrize(
    ("header", "named", "end_user"),
    [
        ({"X_User_ID": "h"}, {"user_id": "a", "user": "b", "metadata": {"user_id": "c"}}, "h"),
        ({}, {"user_id": "a", "user": "b", "metadata": {"user_id": "c"}}, "a"),
        ({}, {"user": "b", "metadata": {"user_id": "c"}}, "b"),
        ({}, {"metadata": {"user_id": "c"}}, "c"),
    ],
)
def test_a_message_names_its_end_user_as_a_chat_does(gateway, upstream, header, named, end_user):
    body = json.loads(BODY) | named | {"model": "claude", "max_tokens": 9}
    answer = post(gateway, "/v1/messages", json.dumps(body).encode(), SECRET, **header)
    assert answer.status == 200
    sent = upstream.seen[-1].json
    assert sent.get("metadata") == named.get("metadata")
    assert sent.keys().isdisjoint({"user_id", "user"})
    receipt(gateway, answer.headers["x-request-id"], SECRET)
    usage = get(gateway, "/v1/usage", SECRET)
    by_id = {record["request_id"]: record for record in usage["records"]}
    assert by_id[answer.headers["x-request-id"]]["end_user"] == end_user


@pytest.mark.parametrize("tags", ["project=alpha;env=prod", "project=caf\xe9"])
def test_tags_that_a_csv_cell_could_not_tell_or_hold_are_refused(gateway, tags):
    answer = post(gateway, CHAT, BODY, SECRET, X_Gateway_Tags=tags)
    assert (answer.status, answer.json["error"]["param"]) == (400, "X-Gateway-Tags")


def test_who_leaves_in_the_middle_of_a_body_is_no_mistake_of_ours(gateway):
    told = len(gateway.output)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nx-api-key: {SECRET}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as client:
        client.sendall(f"{head}{{".encode())
        sleep(0.2)
    assert post(gateway, CHAT, BODY, SECRET).status == 200
    sleep(0.2)
    assert "Internal Server Error" not in gateway.output[told:]


def test_usage_is_of_the_teams_own_day(gateway):
    answer = post(gateway, CHAT, BODY, SECRET)
    receipt(gateway, answer.headers["x-request-id"], SECRET)
    usage = get(gateway, "/v1/usage", SECRET)
    newest = usage["records"][0]
    assert newest["request_id"] == answer.headers["x-request-id"]
    assert {
        "started_at", "provider", "model", "input_tokens", "output_tokens", "cost", "status",
        "latency_ms", "end_user",
    } <= newest.keys()  # fmt: skip
    assert newest["started_at"].endswith("+05:30")


@pytest.mark.parametrize("query", ["date=yesterday", "date=2026-13-01", "scope=everything"])
def test_a_wrong_question_about_usage_is_named(gateway, query):
    answer = ask(gateway, "GET", f"/v1/usage?{query}", Authorization=f"Bearer {SECRET}")
    assert answer.status == 400
    assert answer.json["error"]["param"] == query.split("=")[0]


def test_what_remains_is_told_exactly(gateway):
    before = get(gateway, "/v1/rate-limit", SECRET)
    answer = post(gateway, CHAT, BODY, SECRET)
    after = get(gateway, "/v1/rate-limit", SECRET)
    if before["reset_at"] == after["reset_at"]:
        assert after["requests_remaining"] == before["requests_remaining"] - 1
    spent = {limit["unit"]: limit["used"] for limit in after["limits"]}["usd"]
    was = {limit["unit"]: limit["used"] for limit in before["limits"]}["usd"]
    nano = [round(float(amount) * 10**9) for amount in (was, spent)]
    cost = round(float(answer.headers["x-gateway-cost-usd"]) * 10**9)
    assert nano[1] - nano[0] == cost > 0


def test_a_receipt_is_the_teams_alone(gateway):
    answer = post(gateway, CHAT, BODY, SECRET)
    request_id = answer.headers["x-request-id"]
    receipt(gateway, request_id, SECRET)
    refused = ask(gateway, "GET", f"/v1/receipts/{request_id}", Authorization=f"Bearer {OTHER}")
    assert refused.status == 404


def test_a_team_is_held_to_its_models(gateway):
    body = BODY.replace(b'"gpt"', b'"openai/plain"')
    answer = post(gateway, CHAT, body, OTHER)
    assert (answer.status, answer.json["error"]["code"]) == (403, "model_not_allowed")


def test_an_unpriced_model_is_closed_to_a_budget_and_open_without_one_F41_G7(gateway):
    anthropic = BODY.replace(b'"gpt"', b'"openai/plain"')
    assert post(gateway, CHAT, anthropic, SECRET).status == 200


def test_OAI_31_a_body_of_20_MiB_passes_and_more_is_refused(gateway):
    text = "a" * (20 * MIB - len(BODY) + len("Hello?"))
    whole = BODY.replace(b"Hello?", text.encode())
    assert len(whole) == 20 * MIB
    assert post(gateway, CHAT, whole, OTHER).status == 200
    answer = post(gateway, CHAT, whole + b" ", OTHER)
    assert (answer.status, answer.json["error"]["code"]) == (413, "request_too_large")


def test_R69_a_chunked_body_is_counted_as_it_comes(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OTHER}\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        piece = b"%x\r\n%b\r\n" % (MIB, b"a" * MIB)
        try:
            for _ in range(40):
                connection.sendall(piece)
        except OSError:
            pass  # refused and closed while we were still sending
        head = connection.recv(65536)
    assert head.startswith(b"HTTP/1.1 413")


def test_F47_a_compressed_body_is_refused(gateway):
    answer = post(gateway, CHAT, b"\x1f\x8b", SECRET, Content_Encoding="gzip")
    assert answer.status == 415


def test_R14_a_foreign_host_is_refused(gateway):
    assert ask(gateway, "GET", "/v1/models", Host="evil.example").status == 400


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/messages/nothing"])
def test_OAI_01_an_unknown_address_answers_in_the_providers_shape(gateway, path):
    answer = ask(gateway, "GET", path, Authorization=f"Bearer {SECRET}")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["error"]["message"]
    assert answer.json.get("type") == ("error" if "messages" in path else None)


def test_every_answer_has_a_request_id_and_is_not_stored(gateway):
    for path in (CHAT, "/v1/messages", "/v1/models", "/healthz"):
        answer = ask(gateway, "GET", path, Authorization=f"Bearer {SECRET}")
        assert answer.headers["x-request-id"].startswith("req_")
        assert answer.headers["cache-control"] == "no-store"
    assert ask(gateway, "GET", "/v1/messages").headers["request-id"].startswith("req_")


def test_cors_answers_only_the_origins_that_were_set(gateway):
    asked = {"Access-Control-Request-Method": "POST"}
    allowed = ask(gateway, "OPTIONS", CHAT, Origin="https://app.example", **asked)
    assert allowed.status == 204
    assert allowed.headers["access-control-allow-origin"] == "https://app.example"
    foreign = ask(gateway, "OPTIONS", CHAT, Origin="https://evil.example", **asked)
    assert "access-control-allow-origin" not in foreign.headers


def test_a_refused_call_is_no_row_and_no_request(gateway):
    before = get(gateway, "/v1/usage", SECRET)["request_count"]
    assert post(gateway, CHAT, BODY.replace(b"gpt", b"nope"), SECRET).status == 404
    assert get(gateway, "/v1/usage", SECRET)["request_count"] == before


def test_the_schema_tells_of_the_gateways_addresses(gateway):
    public = ask(gateway, "GET", "/api/schema/?format=json")
    assert public.status in (200, 401, 403)
    if public.status == 200:
        assert CHAT in json.loads(public.body)["paths"]


@pytest.mark.parametrize("path", ["/v1", "/chat/completions", "/models"])
def test_a_base_url_without_its_v1_is_told_so(gateway, path):
    answer = ask(gateway, "GET", path, Authorization=f"Bearer {SECRET}")
    assert answer.status == 404
    assert "/v1" in answer.json["error"]["message"]
    assert answer.headers["x-request-id"]


def test_an_unknown_model_is_told_the_anthropic_way_to_those_who_ask_so(gateway):
    asked = {"anthropic-version": "2023-06-01", "x-api-key": SECRET}
    answer = ask(gateway, "GET", "/v1/models/nope", **asked)
    assert (answer.status, answer.json["error"]["type"]) == (404, "not_found_error")
    assert answer.headers["request-id"] == answer.json["request_id"]
