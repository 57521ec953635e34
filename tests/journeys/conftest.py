"""A real gateway for each module of journeys, and the provider that it calls."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
import redis
from cryptography.fernet import Fernet

from tests.fake_provider import FakeProvider
from tests.running_gateway import RunningGateway

Install = Callable[..., RunningGateway]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeProvider]:
    provider = FakeProvider().start()
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def install(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    upstream: FakeProvider,
) -> Iterator[Install]:
    """Make fresh installations, on the database of this run; with PostgreSQL goes Redis."""
    made: list[RunningGateway] = []
    numbers = itertools.count()

    def make(
        *, environment: dict[str, str] | None = None, config: dict[str, Any] | None = None
    ) -> RunningGateway:
        data_dir: Path = tmp_path_factory.mktemp("installation") / "var"
        settings = {"ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{upstream.port}"}
        if os.environ.get("DATABASE_URL"):
            server = request.getfixturevalue("redis_server").url.removesuffix("/0")
            redis_url = f"{server}/{1 + next(numbers) % 15}"
            with redis.Redis.from_url(redis_url) as client:
                # Another module's installation may have counted failed keys in it.
                client.flushdb()
            settings |= {
                "DATABASE_URL": request.getfixturevalue("cluster").new_database(),
                "REDIS_URL": redis_url,
                "SECRET_KEY": Fernet.generate_key().decode(),
                "CREDENTIAL_KEYS": Fernet.generate_key().decode(),
            }
        gateway = RunningGateway(
            data_dir, environment=settings | (environment or {}), config=config
        )
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        if gateway.is_running():
            gateway.stop()


@pytest.fixture
def openai_client(gateway: RunningGateway, secret: str) -> Iterator[openai.OpenAI]:
    """The stock SDK, as a developer would set it up; without retries, which would hide things."""
    with openai.OpenAI(base_url=gateway.openai_url, api_key=secret, max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway: RunningGateway, secret: str) -> Iterator[anthropic.Anthropic]:
    url = gateway.base_url
    with anthropic.Anthropic(base_url=url, api_key=secret, max_retries=0) as client:
        yield client
