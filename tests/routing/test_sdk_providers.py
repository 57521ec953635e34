"""Requests as the official SDKs build them, seen by a provider on a real socket."""

import ast
import asyncio
from pathlib import Path
from typing import Any

import pytest

from routing.credentials import Secret
from routing.errors import (
    UpstreamAuthError,
    UpstreamRateLimitedError,
    UpstreamRefusedRequestError,
)
from routing.providers import Upstream, build
from tests.fake_provider import Behaviour, FakeProvider
from tests.fake_provider.http_connection import Request
from tests.routing.configs import config

ROOT = Path(__file__).parents[2]
BODY = b'{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}'
FORMATS = {"openai": "openai_chat", "anthropic": "anthropic_messages"}


def upstream(provider: FakeProvider, kind: str, **changes: Any) -> Upstream:
    url = provider.openai_url if kind == "openai" else provider.anthropic_url
    return build(config(url, kind=kind, **changes))


def sent(provider: FakeProvider, kind: str, headers: Any = None, **changes: Any) -> Request:
    asyncio.run(upstream(provider, kind, **changes).ask(FORMATS[kind], BODY, headers or {}))
    return provider.seen[-1].request


def test_an_anthropic_request_is_as_its_sdk_builds_it(fake_provider: FakeProvider):
    request = sent(fake_provider, "anthropic")
    assert request.path == "/v1/messages"
    assert request.body == BODY
    assert request.headers["authorization"] == "Bearer sk-test-0123456789"
    assert request.headers["anthropic-version"] == "2023-06-01"


def test_a_base_url_with_a_path_is_kept(fake_provider: FakeProvider):
    proxied = build(config(f"{fake_provider.openai_url}/proxy/"))
    asyncio.run(proxied.ask("openai_chat", BODY, {}))
    assert fake_provider.seen[-1].request.path == "/v1/proxy/chat/completions"


def test_ant_01_a_beta_header_is_sent_on_and_a_credential_is_not(fake_provider: FakeProvider):
    headers = {
        "anthropic-beta": "tools-2027",
        "Anthropic-Version": "2099-01-01",
        "x-api-key": "the caller's",
        "authorization": "Bearer the caller's",
        "cookie": "a=b",
        "x-forwarded-for": "1.2.3.4",
    }
    request = sent(fake_provider, "anthropic", headers)
    assert request.headers["anthropic-beta"] == "tools-2027"
    assert request.headers["anthropic-version"] == "2099-01-01"
    assert request.headers["authorization"] == "Bearer sk-test-0123456789"
    assert not {"x-api-key", "cookie", "x-forwarded-for"} & set(request.headers)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_server_without_a_credential_gets_none(fake_provider: FakeProvider, kind: str):
    headers = sent(fake_provider, kind, secret=Secret("")).headers
    assert not {"authorization", "x-api-key"} & set(headers)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_environment_of_an_sdk_steers_nothing(
    fake_provider: FakeProvider, decoy: FakeProvider, kind: str, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {
        "OPENAI_API_KEY": "sk-other",
        "OPENAI_BASE_URL": decoy.openai_url,
        "OPENAI_ORG_ID": "org-other",
        "OPENAI_PROJECT_ID": "proj-other",
        "ANTHROPIC_API_KEY": "sk-other",
        "ANTHROPIC_AUTH_TOKEN": "other",
        "ANTHROPIC_BASE_URL": decoy.anthropic_url,
        "HTTP_PROXY": decoy.anthropic_url,
        "ALL_PROXY": decoy.anthropic_url,
    }.items():
        monkeypatch.setenv(name, value)
    assert "other" not in str(sent(fake_provider, kind).headers)


def test_r20_two_accounts_at_one_address_never_swap_credentials(fake_provider: FakeProvider):
    accounts = {
        f"account-{n}": upstream(fake_provider, "openai", id=n, secret=Secret(f"sk-account-{n}"))
        for n in range(2)
    }

    async def interleaved() -> None:
        for _ in range(20):
            await asyncio.gather(
                *(
                    account.ask("openai_chat", BODY.replace(b'"m"', b'"%b"' % name.encode()), {})
                    for name, account in accounts.items()
                )
            )

    asyncio.run(interleaved())
    for seen in fake_provider.seen:
        assert seen.request.headers["authorization"] == f"Bearer sk-{seen.json['model']}"


def test_a_refusal_carries_the_providers_words(fake_provider: FakeProvider):
    body = BODY.replace(b'"m"', b'"status-400"')
    with pytest.raises(UpstreamRefusedRequestError, match="the fake finds it invalid") as caught:
        asyncio.run(upstream(fake_provider, "openai").ask("openai_chat", body, {}))
    assert caught.value.status == 400


def test_a_stream_that_is_refused_raises_before_it_is_entered(fake_provider: FakeProvider):
    body = BODY.replace(b'"m"', b'"status-429"')

    async def read() -> None:
        async with upstream(fake_provider, "anthropic").stream("anthropic_messages", body, {}):
            pass

    with pytest.raises(UpstreamRateLimitedError) as caught:
        asyncio.run(read())
    assert caught.value.retry_after_seconds == 7


def test_redirects_are_not_followed(fake_provider: FakeProvider, decoy: FakeProvider):
    away = (("location", f"{decoy.openai_url}/chat/completions"),)
    fake_provider.script("m", Behaviour(status=307, headers=away, body=b""))
    with pytest.raises(Exception, match="HTTP 307"):
        sent(fake_provider, "openai")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_check_lists_models_with_our_credential(fake_provider: FakeProvider, kind: str):
    asyncio.run(upstream(fake_provider, kind).check())
    request = fake_provider.seen[-1].request
    assert (request.method, request.path.partition("?")[0]) == ("GET", "/v1/models")
    assert "sk-test-0123456789" in str(request.headers)


def test_a_provider_without_a_readable_credential_refuses_and_sends_nothing(decoy: FakeProvider):
    broken = upstream(decoy, "openai", secret=Secret(""), credential_fault="sealed elsewhere")
    for call in (broken.ask("openai_chat", BODY, {}), broken.check()):
        with pytest.raises(UpstreamAuthError):
            asyncio.run(call)


def test_r2_only_the_transport_opens_connections():
    openers = {
        "create_connection", "create_datagram_endpoint", "open_connection", "sock_connect",
        "connect_ex", "urlopen", "HTTPConnection", "HTTPSConnection",
    }  # fmt: skip
    clients = {"requests", "aiohttp", "httpx", "urllib3", "urllib.request", "pyreqwest"}
    found = set()
    for room in ("keys", "billing", "routing", "gateway_project"):
        for path in (ROOT / room).rglob("*.py"):
            name = str(path.relative_to(ROOT))
            for node in ast.walk(ast.parse(path.read_text())):
                match node:
                    case ast.Call(func=ast.Attribute(attr=opener)) if opener in openers:
                        found.add((name, opener))
                    case ast.Import(names=names):
                        found |= {(name, one.name) for one in names if one.name in clients}
                    case ast.ImportFrom(module=module) if module in clients:
                        found.add((name, str(module)))
    # The supervisor asks its own child whether it is ready; alerts go to the one address that
    # the operator's environment names, which no administrator or caller can change.
    own = {
        ("gateway_project/supervise.py", "HTTPConnection"),
        ("billing/alert_channels.py", "HTTPConnection"),
        ("billing/alert_channels.py", "HTTPSConnection"),
    }
    assert found - own == {("routing/transport.py", "create_connection")}
