import pytest

from keys.client_address import client_ip


def _client(peer: str, *forwarded: str) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return client_ip({"client": (peer, 1234), "headers": headers})


@pytest.fixture
def _proxies(settings):
    settings.TRUSTED_PROXIES = ["10.0.0.0/8", "::1"]


def test_without_trusted_proxies_the_header_is_only_a_claim(settings):
    settings.TRUSTED_PROXIES = []
    assert _client("10.0.0.1", "203.0.113.9") == "10.0.0.1"


@pytest.mark.usefixtures("_proxies")
@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.9, 10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9:5123"], "203.0.113.9"),
        ("::1", ["[2001:db8::1]:5123"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.7"], "10.0.0.7"),
    ],
)
def test_the_first_address_that_is_no_proxy_is_the_client(peer, forwarded, client):
    assert _client(peer, *forwarded) == client


def test_a_server_that_knows_no_peer_gives_none(settings):
    settings.TRUSTED_PROXIES = []
    assert client_ip({"client": None, "headers": []}) == ""
