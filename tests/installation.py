"""What an installation of the product is told, wherever a test starts one."""

from collections.abc import Iterator
from contextlib import contextmanager

from cryptography.fernet import Fernet

from tests.fake_provider import FakeProvider
from tests.running_gateway import RunningGateway


def environment_for(upstream: FakeProvider, **given: str) -> dict[str, str]:
    """Variables of a new installation: those given, and what goes with them."""
    told = {"ALLOW_PRIVATE_UPSTREAMS": f"127.0.0.1:{upstream.port}"} | given
    if "DATABASE_URL" in given:
        # Only with the embedded database does the product make these itself.
        told["SECRET_KEY"] = Fernet.generate_key().decode()
        told["CREDENTIAL_KEYS"] = Fernet.generate_key().decode()
    return told


@contextmanager
def all_stopped_at_the_end() -> Iterator[list[RunningGateway]]:
    """A list for the gateways of a fixture, none of which outlives it."""
    started: list[RunningGateway] = []
    yield started
    for gateway in started:
        if gateway.is_running():
            gateway.stop()
