"""Provider credentials at rest: encrypted, and bound to the one origin that may receive them.

The encrypted text holds the origin (scheme, host, port) beside the secret. Reading it for any
other origin fails, so neither an edited base URL nor a row copied by hand sends a stored secret
somewhere new. A secret is never shown again: only whether it is set, and its last characters.
"""

import hmac
import json
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

# Below this length the last characters would give too much of a secret away.
SHORTEST_HINTED_SECRET: Final = 12


class CredentialError(Exception):
    """A stored credential cannot be used: another key, another origin, or damaged text."""


class Secret:
    """A credential in clear, which shows itself only to who asks by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(…)"


def seal(secret: str, origin: str) -> str:
    """Encrypt a secret for one origin, with the newest of the credential keys."""
    text = json.dumps({"origin": origin, "secret": secret}).encode()
    return _fernet().encrypt(text).decode()


def unseal(sealed: str, origin: str) -> Secret:
    """The secret, for the origin it was sealed for; an empty text is an empty secret.

    Raises:
        CredentialError: it was sealed for another origin, or with a key that is not ours.
    """
    if not sealed:
        return Secret("")
    content = _open(sealed)
    if content["origin"] != origin:
        raise CredentialError("The stored credential belongs to another address.")
    return Secret(content["secret"])


def holds(sealed: str, origin: str, secret: str) -> bool:
    """Whether a stored credential is this very secret, for this origin."""
    try:
        return unseal(sealed, origin) == Secret(secret)
    except CredentialError:
        return False


def hint(sealed: str) -> str:
    """How a stored credential is shown: whether it is set, and at most its last four characters."""
    if not sealed:
        return "not set"
    try:
        secret = _open(sealed)["secret"]
    except CredentialError:
        return "set, but unreadable with the present CREDENTIAL_KEYS"
    if len(secret) < SHORTEST_HINTED_SECRET:
        return "set"
    return f"set, ends in …{secret[-4:]}"


def rotate(sealed: str) -> str:
    """The same credential, encrypted with the newest key.

    Raises:
        CredentialError: none of our keys opens it.
    """
    try:
        return _fernet().rotate(sealed.encode()).decode()
    except InvalidToken as error:
        raise CredentialError("None of the CREDENTIAL_KEYS opens this credential.") from error


def _open(sealed: str) -> dict[str, str]:
    try:
        content: dict[str, str] = json.loads(_fernet().decrypt(sealed.encode()))
    except InvalidToken as error:
        raise CredentialError("None of the CREDENTIAL_KEYS opens this credential.") from error
    return content


def _fernet() -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in settings.CREDENTIAL_KEYS])
    except ValueError as error:
        raise CredentialError("CREDENTIAL_KEYS must hold at least one Fernet key.") from error
