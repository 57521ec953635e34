"""Which addresses the gateway may connect to.

A name is resolved here and every address it has is checked; the transport then connects to one
of the checked addresses and to nothing else, so a name that changes its mind between the check
and the connection gains nothing. Loopback and private addresses (Ollama, vLLM) are open only to
what the deployment lists in its environment, never through a page.
"""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx2
from django.conf import settings

from routing.base_urls import host_and_port, parse_base_url

LOOKUP_SECONDS = 2.0
# How long a checked answer of the resolver may be connected to.
ANSWER_SECONDS = 30.0
_NAT64 = IPv6Network("64:ff9b::/96")
# Forms that carry an IPv4 address at a place of the operator's choosing, or are retired.
_REFUSED_V6 = (IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"), IPv6Network("fec0::/10"))

Address = IPv4Address | IPv6Address


class OutboundRefusedError(Exception):
    """An address we may not connect to. The message is for administrators, not for callers."""


class LookupFailedError(Exception):
    """A name has no address, or the resolver did not answer in time."""


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...]
    until: float


class AddressBook:
    """The checked addresses of one host and port, looked up again when they are old."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._answer: _Answer | None = None

    async def addresses(self) -> tuple[str, ...]:
        """Addresses to connect to, in the resolver's order.

        Raises:
            OutboundRefusedError: one of them is not allowed.
            LookupFailedError: there are none, or not within two seconds.
        """
        loop = asyncio.get_running_loop()
        if self._answer is None or self._answer.until < loop.time():
            try:
                found = await asyncio.wait_for(
                    loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM),
                    LOOKUP_SECONDS,
                )
            except (OSError, UnicodeError, TimeoutError) as error:
                raise LookupFailedError(self._host) from error
            addresses = _checked(self._host, self._port, (str(one[4][0]) for one in found))
            self._answer = _Answer(addresses, loop.time() + ANSWER_SECONDS)
        return self._answer.addresses


def check_base_url(text: str) -> httpx2.URL:
    """Check a base URL when it is saved; the connection is checked again at every use.

    A name that has no address yet passes: it may come up later, and is checked then.

    Raises:
        BaseUrlError: it cannot be a base URL.
        OutboundRefusedError: it leads to an address we may not connect to.
    """
    url = parse_base_url(text)
    host, port = host_and_port(url)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return url
    _checked(host, port, (str(one[4][0]) for one in found))
    return url


def _checked(host: str, port: int, addresses: Iterable[str]) -> tuple[str, ...]:
    known = tuple(dict.fromkeys(addresses))
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    allowed: list[str] = settings.PRIVATE_UPSTREAMS
    if "any" in allowed or place in allowed:
        return known
    for text in known:
        # A zone (`%eth0`) only ever goes with a link-local address, which is refused anyway.
        address = ip_address(text.partition("%")[0])
        if is_public(address) or ("loopback" in allowed and _is_loopback(address)):
            continue
        listed = ",".join([*(one for one in allowed if one != "loopback"), place])
        raise OutboundRefusedError(
            f"{place} is not on the public internet. To let providers live there, start the "
            f"gateway with ALLOW_PRIVATE_UPSTREAMS={listed}"
        )
    return known


def is_public(address: Address) -> bool:
    """Whether an address, and every address hidden inside it, is on the public internet."""
    if isinstance(address, IPv6Address):
        if any(address in network for network in _REFUSED_V6):
            return False
        return _plain_public(address) and all(map(_plain_public, _embedded(address)))
    return _plain_public(address)


def _plain_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return False
    return address.is_global and not address.is_multicast


def _embedded(address: IPv6Address) -> list[IPv4Address]:
    inside = [address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inside.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in inside if one is not None]


def _is_loopback(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
