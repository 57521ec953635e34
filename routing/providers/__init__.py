"""Providers: one file a kind, each with `build(config)`."""

from routing.providers.anthropic import build as build_anthropic
from routing.providers.demo import build as build_demo
from routing.providers.openai import build as build_openai
from routing.providers.upstream import ProviderConfig, Upstream

__all__ = ["ProviderConfig", "Upstream", "build"]

_BUILDERS = {"anthropic": build_anthropic, "demo": build_demo, "openai": build_openai}


def build(config: ProviderConfig) -> Upstream:
    """A live client for a provider. It opens no connection before its first call."""
    return _BUILDERS[config.kind](config)
