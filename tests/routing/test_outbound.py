"""Which addresses providers may live on."""

import asyncio
from ipaddress import ip_address
from typing import Any

import pytest

from routing.base_urls import BaseUrlError, origin_of, parse_base_url
from routing.errors import UpstreamUnreachableError
from routing.outbound import (
    AddressBook,
    OutboundRefusedError,
    check_base_url,
    is_public,
)
from routing.providers import build
from tests.fake_provider import FakeProvider
from tests.routing.configs import config

PRIVATE = [
    "0.0.0.0",  # noqa: S104 - nothing listens there, it is a payload
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::808:808",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001:0:7f00:1::",
    "2001:0:808:808::80ff:fffe",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
LOOPBACK_SPELLINGS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0",
    "localhost",
    "LOCALHOST",
    "127。0。0。1",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_on_the_internet_is_not_public(address: str):
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_an_address_on_the_internet_is_public(address: str):
    assert is_public(ip_address(address))


@pytest.mark.parametrize("host", LOOPBACK_SPELLINGS)
def test_g27_no_spelling_of_loopback_is_saved_or_called(
    host: str, decoy: FakeProvider, settings: Any
):
    settings.PRIVATE_UPSTREAMS = []
    url = f"http://{host}:{decoy.port}/v1"
    with pytest.raises((BaseUrlError, OutboundRefusedError)):
        check_base_url(url)
    with pytest.raises((BaseUrlError, UpstreamUnreachableError)):
        asyncio.run(build(config(url)).ask("openai_chat", b"{}", {}))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_loopback_can_be_opened_as_a_whole(host: str, settings: Any):
    settings.PRIVATE_UPSTREAMS = ["loopback"]
    check_base_url(f"http://{host}:8000/v1")
    with pytest.raises(OutboundRefusedError):
        check_base_url("http://10.0.0.7:8000/v1")


def test_one_place_can_be_opened_and_no_other_port_of_it(settings: Any):
    settings.PRIVATE_UPSTREAMS = ["10.0.0.7:8000"]
    check_base_url("http://10.0.0.7:8000/v1")
    with pytest.raises(OutboundRefusedError):
        check_base_url("http://10.0.0.7:8001/v1")


def test_everything_can_be_opened(settings: Any):
    settings.PRIVATE_UPSTREAMS = ["any"]
    check_base_url("http://169.254.169.254/v1")


def test_a_refusal_says_which_line_to_add(settings: Any):
    settings.PRIVATE_UPSTREAMS = ["10.0.0.7:8000"]
    line = r"ALLOW_PRIVATE_UPSTREAMS=10\.0\.0\.7:8000,\[::1\]:9"
    with pytest.raises(OutboundRefusedError, match=line):
        check_base_url("http://[::1]:9")


def test_the_address_is_checked_again_when_it_is_used(settings: Any, decoy: FakeProvider):
    upstream = build(config(decoy.openai_url))
    settings.PRIVATE_UPSTREAMS = []
    with pytest.raises(UpstreamUnreachableError) as caught:
        asyncio.run(upstream.ask("openai_chat", b"{}", {}))
    assert "127.0.0.1" not in caught.value.message


def test_one_bad_address_of_a_name_refuses_the_name(settings: Any):
    settings.PRIVATE_UPSTREAMS = []
    with pytest.raises(OutboundRefusedError):
        asyncio.run(AddressBook("localhost", 80).addresses())


def test_a_name_without_an_address_may_be_saved(settings: Any):
    settings.PRIVATE_UPSTREAMS = []
    check_base_url("https://not-yet.invalid/v1")


@pytest.mark.parametrize(
    "text",
    [
        "ftp://example.com",
        "file:///etc/passwd",
        "//example.com",
        "example.com/v1",
        "https://",
        "https:///v1",
        "https://user@example.com",
        "https://user:pass@example.com",
        "https://@example.com",
        "https://example.com/v1?x=1",
        "https://example.com/v1#x",
        "https://example.com/v1?",
        "https://exam ple.com",
        "https://example.com\\@evil.example",
        "https://example.com/\r\nx: y",
        "https://example.com:99999",
        "https://example.com:0",
        "https://" + "a" * 600,
        "javascript:alert(1)",
    ],
)
def test_what_cannot_be_a_base_url_is_refused(text: str):
    with pytest.raises(BaseUrlError):
        parse_base_url(text)


def test_an_origin_has_one_spelling():
    assert origin_of("openai", "") == "https://api.openai.com:443"
    assert origin_of("openai", "HTTPS://API.openai.com/v1/") == "https://api.openai.com:443"
    assert origin_of("openai", "http://[::1]/v1") == "http://[::1]:80"
