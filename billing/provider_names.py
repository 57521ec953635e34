"""Which providers exist, as the room that has the providers tells.

A price of a provider that does not exist would never apply, so it is refused.
"""

from collections.abc import Callable, Iterable

_sources: list[Callable[[], Iterable[str]]] = []


def offer_providers(source: Callable[[], Iterable[str]]) -> None:
    """Tell where to ask for the names of all providers."""
    _sources.append(source)


def provider_exists(name: str) -> bool:
    return any(name in source() for source in _sources)
