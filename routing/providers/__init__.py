"""Providers: one file a kind, each with `build(config)`."""

from routing.providers import anthropic, demo, openai
from routing.providers.upstream import ProviderConfig, Upstream

__all__ = ["ProviderConfig", "Upstream", "build"]

_BUILDERS = {"anthropic": anthropic.build, "demo": demo.build, "openai": openai.build}


def build(config: ProviderConfig) -> Upstream:
    """A live client for a provider. It opens no connection before its first call."""
    return _BUILDERS[config.kind](config)
