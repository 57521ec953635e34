"""Where in a request the API key is: the header that each provider's own SDK uses for it."""

from collections.abc import Iterable
from urllib.parse import parse_qsl

from keys.errors import InvalidKeyError, InvalidRequestError

# One text for every key that is not good, so that an answer says nothing about which exist.
BAD_KEY = (
    "The API key is missing, malformed, unknown, expired or revoked. "
    "Send one in the Authorization header as 'Bearer gw_…', or in x-api-key."
)
_KEY_HEADERS = frozenset((b"x-api-key", b"api-key", b"x-goog-api-key"))
_KEY_PARAMETERS = frozenset(
    (
        "key",
        "api_key",
        "apikey",
        "token",
        "access_token",
        *(header.decode() for header in _KEY_HEADERS),
    )
)


def find_secret(headers: Iterable[tuple[bytes, bytes]], query_string: bytes) -> str:
    """Find the one API key of a request.

    Args:
        headers: as ASGI gives them, names in lower case.

    Raises:
        InvalidKeyError: there is none, or it is in the query string. HTTP 401.
        InvalidRequestError: two headers hold different keys. HTTP 400.
    """
    if query_string:
        _refuse_key_in(query_string)
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, value = value.partition(b" ")  # noqa: PLW2901 - the rest is the key
            if scheme.lower() != b"bearer":
                continue
        elif name not in _KEY_HEADERS:
            continue
        secret = value.strip()
        if found is not None and found != secret:
            raise InvalidRequestError("Two different API keys were sent. Send one.")
        found = secret
    if not found or not found.isascii():
        raise InvalidKeyError(BAD_KEY)
    return found.decode("ascii")


def _refuse_key_in(query_string: bytes) -> None:
    # Addresses end up in logs and histories: a key that was in one is no longer a secret.
    for name, value in parse_qsl(query_string.decode("latin-1"), keep_blank_values=True):
        if name.lower() in _KEY_PARAMETERS or value.startswith("gw_"):
            raise InvalidKeyError(
                "An API key in the query string is refused. Send it in the Authorization header."
            )
