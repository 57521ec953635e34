"""Provider configurations and targets for the tests of this room."""

from typing import Any

from routing.catalogue import Target
from routing.credentials import Secret
from routing.providers import ProviderConfig, build


def config(base_url: str = "", kind: str = "openai", **changes: Any) -> ProviderConfig:
    fields: dict[str, Any] = {
        "id": 1,
        "name": "main",
        "kind": kind,
        "base_url": base_url,
        "secret": Secret("sk-test-0123456789"),
        "connect_timeout_seconds": 2,
        "timeout_seconds": 5,
        "stream_idle_timeout_seconds": 5,
        "total_timeout_seconds": 10,
        "on_disconnect": "cancel",
    }
    return ProviderConfig(**(fields | changes))


def target(model: str = "m", *, provider: int = 1, **changes: Any) -> Target:
    upstream = build(config(kind="demo", id=provider, name=f"demo-{provider}"))
    fields: dict[str, Any] = {"priority": 1, "weight": 1, "price_model": model}
    return Target(upstream, model, **(fields | changes))
