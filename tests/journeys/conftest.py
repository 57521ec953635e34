"""A real gateway for each module of journeys, and the SDKs that call it."""

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from tests.fake_provider import FakeProvider
from tests.installation import all_stopped_at_the_end
from tests.running_gateway import RunningGateway

Install = Callable[..., RunningGateway]


@pytest.fixture(scope="module")
def install(
    tmp_path_factory: pytest.TempPathFactory,
    fresh_environment: Callable[[FakeProvider], dict[str, str]],
    upstream: FakeProvider,
) -> Iterator[Install]:
    """Make fresh installations, on the database of this run."""
    with all_stopped_at_the_end() as made:

        def make(
            *, environment: dict[str, str] | None = None, config: dict[str, Any] | None = None
        ) -> RunningGateway:
            data_dir = tmp_path_factory.mktemp("installation") / "var"
            told = fresh_environment(upstream) | (environment or {})
            made.append(RunningGateway(data_dir, environment=told, config=config))
            return made[-1]

        yield make


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
