"""The form of the secrets that we hand out.

A secret is a prefix, 37 random characters of base62 (220 bits) and 6 more: the CRC-32 of all
before them. The checksum tells a mistyped or made-up key from a real one without a database.
"""

import hashlib
import secrets
import string
from zlib import crc32

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_LETTERS = frozenset(_ALPHABET)
_RANDOM_LENGTH = 37
_CHECKSUM_LENGTH = 6
_KEY_PREFIX = "gw_"
_STAFF_TOKEN_PREFIX = "gws_"  # noqa: S105 - what every token starts with
_SHOWN_RANDOM = 8


def make_secret() -> str:
    """Make the secret of a new API key, uniform over all of them."""
    return _make(_KEY_PREFIX)


def make_staff_token() -> str:
    """Make a token for the management API; its prefix tells it from an API key."""
    return _make(_STAFF_TOKEN_PREFIX)


def is_well_formed(text: str) -> bool:
    """Tell whether a text can be an API key at all; reads no database."""
    return _has_form(text, _KEY_PREFIX)


def is_well_formed_staff_token(text: str) -> bool:
    return _has_form(text, _STAFF_TOKEN_PREFIX)


def hash_secret(text: str) -> str:
    """SHA-256 in hex. A slow hash would add nothing to 220 random bits."""
    return hashlib.sha256(text.encode()).hexdigest()


def prefix_of(text: str) -> str:
    """The part that may be stored and shown, so that people can tell their keys apart."""
    return text[: text.index("_") + 1 + _SHOWN_RANDOM]


def _make(prefix: str) -> str:
    unsigned = prefix + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return unsigned + _checksum(unsigned)


def _has_form(text: str, prefix: str) -> bool:
    body = text[len(prefix) :]
    return (
        text.startswith(prefix)
        and len(body) == _RANDOM_LENGTH + _CHECKSUM_LENGTH
        and _LETTERS.issuperset(body)
        and _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]
    )


def _checksum(text: str) -> str:
    number = crc32(text.encode())
    digits = []
    for _ in range(_CHECKSUM_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
