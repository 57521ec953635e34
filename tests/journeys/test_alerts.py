"""Alerts end to end: calls through the gateway, and the running Celery worker tells of them."""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from keys.secrets import make_secret
from tests.alert_receivers import Hook, MailBox, mail_server, webhook
from tests.journeys.configuration import model, price, providers, team
from tests.journeys.raw_http import post
from tests.loopback import wait_until
from tests.running_gateway import RunningGateway

SECRET = "whsec_" + base64.b64encode(b"what the receiver knows too").decode()
UNLIMITED = make_secret()


@pytest.fixture(scope="module")
def box() -> Iterator[MailBox]:
    with mail_server() as box:
        yield box


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    with webhook() as hook:
        yield hook


@pytest.fixture(scope="module")
def secret() -> str:
    return make_secret()


@pytest.fixture(scope="module")
def gateway(install: Any, upstream: Any, box: MailBox, hook: Hook, secret: str) -> RunningGateway:
    soft = {"unit": "requests", "window": "month", "ceiling": 4, "soft": True}
    config = {
        "providers": providers(upstream),
        "prices": [price("fake-openai")],
        "models": [
            model("gpt", ("fake-openai", "gpt-4o")),
            # They report a thousand tokens of input, whatever they were sent.
            model("bounded", ("fake-openai", "cached")),
            model("boundless", ("fake-openai", "cached")),
        ],
        "teams": [team("research", secret, soft), team("unlimited", UNLIMITED)],
    }
    environment = {
        "WORKERS": "1",
        "EMAIL_URL": f"smtp://127.0.0.1:{box.port}?from=gateway@example.com",
        "ALERT_EMAILS": "ops@example.com, finance@example.com",
        "ALERT_WEBHOOK_URL": hook.url,
        "ALERT_WEBHOOK_SECRET": SECRET,
    }
    running: RunningGateway = install(environment=environment, config=config)
    return running.start()


def ask(client: openai.OpenAI, times: int) -> None:
    for _ in range(times):
        client.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "Hi"}])


def test_the_worker_mails_and_posts_what_a_soft_limit_has_reached(
    openai_client: openai.OpenAI, box: MailBox, hook: Hook
) -> None:
    # More calls than the ceiling: a soft limit refuses nothing.
    ask(openai_client, 5)
    wait_until(lambda: bool(len(box.mails) == 2 and hook.posts), "the alert", seconds=60)
    title = "Team research has used 100 % of its limit of 4 requests per month"
    mail, same = box.mails
    assert mail["message-id"] == same["message-id"]
    assert mail["subject"] == f"[gateway] {title}"
    assert mail["from"] == "gateway@example.com"
    assert box.recipients == [["ops@example.com"], ["finance@example.com"]]

    (post,) = hook.posts
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    digest = hmac.new(key, post.body, hashlib.sha256).hexdigest()
    assert post.headers["x-gateway-signature"] == f"sha256={digest}"
    told = json.loads(post.body)["data"]
    assert (told["title"], told["ceiling"]) == (title, 4)
    # The sweep may have come between the last two calls.
    assert told["used"] in (4, 5)


@pytest.mark.parametrize(("name", "bound"), [("boundless", ""), ("bounded", '"max_tokens":5,')])
def test_what_a_provider_reports_beyond_a_request_is_told_of_a_team_without_limits(
    gateway: RunningGateway, hook: Hook, name: str, bound: str
) -> None:
    body = f'{{"model":"{name}",{bound}"messages":[{{"role":"user","content":"hi"}}]}}'
    answer = post(gateway, "/v1/chat/completions", body.encode(), UNLIMITED)
    assert answer.status == 200
    request_id = answer.headers["x-request-id"]
    wait_until(lambda: request_id in str(hook.posts[-1:]), "the alert", seconds=60)
    told = json.loads(hook.posts[-1].body)
    assert told["type"] == "alert.beyond_bound"
    (request,) = told["data"]["requests"]
    assert (request["request_id"], request["excess"]) == (request_id, {})
    assert request["tokens"] > 1000
    assert told["data"]["title"].startswith(f"Calls of team unlimited to {name} used more than")
