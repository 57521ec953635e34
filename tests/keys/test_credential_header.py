import pytest

from keys.credential_header import find_secret
from keys.errors import InvalidKeyError, InvalidRequestError


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "x-goog-api-key"])
def test_each_providers_header_is_read(name):
    assert find_secret([(name.encode(), b"gw_1")], b"") == "gw_1"


@pytest.mark.parametrize("value", [b"Bearer gw_1", b"bearer gw_1", b"BEARER  gw_1 "])
def test_a_bearer_token_is_read(value):
    assert find_secret([(b"authorization", value)], b"") == "gw_1"


def test_another_scheme_is_not_ours_to_read():
    headers = [(b"authorization", b"Basic dTpw"), (b"x-api-key", b"gw_1")]
    assert find_secret(headers, b"") == "gw_1"


def test_the_same_key_twice_is_one_key():
    headers = [(b"authorization", b"Bearer gw_1"), (b"x-api-key", b"gw_1")]
    assert find_secret(headers, b"") == "gw_1"


def test_F60_two_different_keys_are_refused():
    headers = [(b"authorization", b"Bearer gw_1"), (b"x-api-key", b"gw_2")]
    with pytest.raises(InvalidRequestError):
        find_secret(headers, b"")


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"gw_1")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer")],
        [(b"x-api-key", "é".encode())],
        [(b"x-api-key", b"\xff\xfe")],
    ],
)
def test_no_readable_key_is_an_invalid_key(headers):
    with pytest.raises(InvalidKeyError):
        find_secret(headers, b"")


@pytest.mark.parametrize("query", [b"key=gw_1", b"api_key=x", b"X-API-Key=x", b"a=1&q=gw%5F1"])
def test_F60_a_key_in_the_query_string_is_refused(query):
    with pytest.raises(InvalidKeyError, match="query string"):
        find_secret([(b"x-api-key", b"gw_1")], query)


def test_other_parameters_pass():
    assert find_secret([(b"x-api-key", b"gw_1")], b"date=2026-01-01&scope=key") == "gw_1"
