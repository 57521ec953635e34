"""Config files for journeys: the fake provider as an OpenAI and as an Anthropic account."""

from typing import Any

from tests.fake_provider import FakeProvider

# USD per million tokens of everything the fake provider serves.
INPUT, CACHED, WRITTEN, WRITTEN_1H, OUTPUT = "2.50", "0.25", "3.125", "5.00", "10.00"
Config = dict[str, Any]


def providers(upstream: FakeProvider, **settings: Any) -> list[Config]:
    patient = {"connect_timeout_seconds": 2, "timeout_seconds": 1} | settings
    return [
        {
            "name": "fake-openai",
            "kind": "openai",
            "base_url": upstream.openai_url,
            "api_key": "sk-fake-openai-credential",
            "stream_idle_timeout_seconds": 1,
            **patient,
        },
        {
            "name": "fake-anthropic",
            "kind": "anthropic",
            "base_url": upstream.anthropic_url,
            "api_key": "sk-fake-anthropic-credential",
            "stream_idle_timeout_seconds": 1,
            **patient,
        },
    ]


def price(provider: str) -> Config:
    return {
        "provider": provider,
        "model": "*",
        "effective_from": "2026-01-01T00:00:00Z",
        "input": INPUT,
        "cached_input": CACHED,
        "cache_write": WRITTEN,
        "cache_write_1h": WRITTEN_1H,
        "output": OUTPUT,
    }


def model(name: str, *targets: tuple[str, str], **settings: Any) -> Config:
    """A model whose targets are (provider, upstream model), the first one first."""
    numbered = [
        {"provider": provider, "model": upstream_model, "priority": number}
        for number, (provider, upstream_model) in enumerate(targets, start=1)
    ]
    return {"name": name, "targets": numbered, **settings}


def every_behaviour(kind: str) -> Config:
    """`kind/NAME+anything` for all that the fake provider can do, tried once."""
    return model(f"{kind}/*", (f"fake-{kind}", "*"), max_attempts=1)


def team(name: str, secret: str, *limits: Config, **settings: Any) -> Config:
    key = {"name": f"{name}-key", "secret": secret}
    return {"name": name, "limits": list(limits), "keys": [key], **settings}
