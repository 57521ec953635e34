"""Fixtures of this room."""

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _providers_on_loopback(settings: Any) -> None:
    """As on the embedded default, whatever database the run is on; the servers here are local."""
    settings.PRIVATE_UPSTREAMS = ["loopback"]
