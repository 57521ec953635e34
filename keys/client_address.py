"""The address a request came from, behind the proxies that are trusted and no others.

`X-Forwarded-For` is read from its right end: each trusted proxy vouches for the entry before
its own. The first address that is no trusted proxy is the client; whatever stands to its left
is the client's own claim.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest

Network = IPv4Network | IPv6Network


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; IPv4 inside IPv6 becomes IPv4. None when it is none."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def client_ip(scope: Mapping[str, Any]) -> str:
    """The client's address of an ASGI scope; empty where the server knows none."""
    peer = (scope.get("client") or ("",))[0]
    proxies = _trusted_proxies()
    if not proxies:
        return str(peer)
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    return _client_behind(proxies, peer, b",".join(forwarded).decode("latin-1"))


def request_ip(request: HttpRequest) -> str:
    """The client's address of a Django request."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    return _client_behind(_trusted_proxies(), request.META.get("REMOTE_ADDR", ""), forwarded)


def _client_behind(proxies: tuple[Network, ...], peer: str, forwarded: str) -> str:
    client = peer
    for hop in [*reversed(forwarded.split(",")), ""]:
        address = parse_address(client)
        if address is None or not any(address in network for network in proxies):
            break
        claimed = parse_address(_without_port(hop.strip()))
        if claimed is None:
            break
        client = str(claimed)
    return client


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, _ = text.partition(":")
    return host if colon and text.count(":") == 1 else text


def _trusted_proxies() -> tuple[Network, ...]:
    return _networks(tuple(map(str, settings.TRUSTED_PROXIES)))


@lru_cache(maxsize=4)
def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)
