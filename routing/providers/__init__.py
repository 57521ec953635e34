"""Providers: one file a kind, each with `build(config)`."""

from importlib import import_module

from routing.providers.upstream import ProviderConfig, Upstream

__all__ = ["ProviderConfig", "Upstream", "build"]


def build(config: ProviderConfig) -> Upstream:
    """A live client for a provider. It opens no connection before its first call."""
    # Found here, not above: an SDK takes up to a second and 50 MB to load, and most processes
    # (commands, the Celery worker, gateways with one kind of provider) never need it.
    kind = import_module(f"{__name__}.{config.kind}")
    upstream: Upstream = kind.build(config)
    return upstream
