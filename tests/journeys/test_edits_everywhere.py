"""Four workers: an edit is in force on all of them within a second, wherever a call arrives."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import openai
import pytest

from keys.secrets import make_secret
from tests.fake_provider import Behaviour
from tests.journeys import configuration

WORKERS = 4
CALLS = 40
SECRET, DYING = make_secret(), make_secret()


def _config(upstream, *limits):
    return {
        "providers": configuration.providers(upstream)[:1],
        "models": [
            configuration.model("brief", ("fake-openai", "brief")),
            configuration.model("long", ("fake-openai", "long")),
        ],
        "prices": [configuration.price("fake-openai")],
        "teams": [
            configuration.team("edited", SECRET, *limits),
            configuration.team("revoked", DYING),
        ],
    }


def _budget(ceiling):
    return {"unit": "usd", "window": "month", "ceiling": ceiling}


@pytest.fixture(scope="module")
def gateway(install, upstream):
    upstream.script("brief", Behaviour())
    upstream.script("long", Behaviour(words=5000, word_seconds=0.1))
    environment = {"WORKERS": str(WORKERS)}
    config = _config(upstream, _budget("10.00"))
    return install(environment=environment, config=config).start()


def _status(gateway, secret=SECRET):
    request = Request(  # noqa: S310 - our own loopback address
        f"{gateway.openai_url}/chat/completions",
        data=b'{"model": "brief", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}',
        headers={"Authorization": f"Bearer {secret}", "Content-Type": "application/json"},
    )
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return answer.status
    except HTTPError as error:
        with error:
            return error.code


def _statuses(gateway, secret=SECRET):
    """What many calls are answered, each on a connection of its own."""
    with ThreadPoolExecutor(16) as callers:
        return set(callers.map(lambda _: _status(gateway, secret), range(CALLS)))


def _edit(gateway, config):
    gateway.configure(config)
    gateway.manage("apply_config", str(gateway.config_file))
    time.sleep(1)


def test_a_budget_that_is_lowered_refuses_on_every_worker(gateway, upstream):
    assert _statuses(gateway) == {200}
    _edit(gateway, _config(upstream, _budget("0.00")))
    assert _statuses(gateway) == {429}


def test_a_budget_that_is_raised_admits_on_every_worker(gateway, upstream):
    _edit(gateway, _config(upstream, _budget("10.00")))
    assert _statuses(gateway) == {200}


def test_F37_a_new_limit_binds_every_worker(gateway, upstream):
    none = {"unit": "requests", "window": "total", "ceiling": 0}
    _edit(gateway, _config(upstream, _budget("10.00"), none))
    assert _statuses(gateway) == {429}


def test_a_revoked_key_is_refused_by_every_worker_and_its_streams_end_F38_G22(gateway):
    assert _statuses(gateway, DYING) == {200}
    ended: list[str] = []

    def read():
        with openai.OpenAI(base_url=gateway.openai_url, api_key=DYING, max_retries=0) as client:
            stream = client.chat.completions.create(
                model="long", messages=[{"role": "user", "content": "go on"}], stream=True
            )
            opened.release()
            try:
                for _ in stream:
                    pass
            except openai.APIError as error:
                ended.append(str(error))

    opened = threading.Semaphore(0)
    readers = [threading.Thread(target=read, daemon=True) for _ in range(12)]
    for reader in readers:
        reader.start()
    for _ in readers:
        opened.acquire()
    key_id = gateway.manage("shell", "--command", _KEY_ID).split()[-1]
    gateway.manage("revoke_key", key_id)
    time.sleep(1)
    assert _statuses(gateway, DYING) <= {401, 429}
    for reader in readers:
        reader.join(4)
    assert len(ended) == len(readers)
    assert all("revoked" in message for message in ended)


_KEY_ID = "from keys.models import ApiKey; print(ApiKey.objects.get(name='revoked-key').pk)"


def test_the_books_agree_after_the_edits(gateway):
    gateway.manage("check_books")
