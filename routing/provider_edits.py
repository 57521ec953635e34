"""The one way in which providers change, whoever changes them: page, API, config file, seed."""

import math
import re

from django.core.exceptions import ValidationError

from routing.base_urls import BaseUrlError, origin_of
from routing.credentials import holds, seal
from routing.models import Kind, Provider
from routing.outbound import OutboundRefusedError, check_base_url

LONGEST_TIMEOUT_SECONDS = 3600
_NAME = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_TIMEOUTS = (
    "connect_timeout_seconds",
    "timeout_seconds",
    "stream_idle_timeout_seconds",
    "total_timeout_seconds",
)


def save_provider(provider: Provider, *, credential: str | None = None) -> Provider:
    """Save a new or changed provider.

    A stored credential is for the origin of its base URL alone: where the origin changes, it is
    blanked, and the edit has to bring a new one.

    Args:
        credential: in clear; None keeps the stored one, an empty text removes it.

    Raises:
        ValidationError: by field, in words for an administrator.
    """
    stored = Provider.objects.filter(pk=provider.pk).first() if provider.pk else None
    check_provider(provider, stored, credential=credential)
    provider.credential = _sealed(provider, stored, credential)
    provider.save()
    return provider


def check_provider(provider: Provider, stored: Provider | None, *, credential: str | None) -> None:
    """What `save_provider` would say, without saving.

    Raises:
        ValidationError: by field.
    """
    provider.clean_fields(exclude=["credential"])
    provider.validate_unique()
    errors = {name: text for name in _TIMEOUTS if (text := _timeout_error(provider, name))}
    if text := _name_error(provider):
        errors["name"] = text
    elif stored is not None and provider.name != stored.name:
        errors["name"] = "The name stays: prices and the ledger use it."
    if stored is not None and provider.kind != stored.kind:
        errors["kind"] = "The kind stays; make another provider."
    if text := _base_url_error(provider):
        errors["base_url"] = text
    elif text := _credential_error(provider, stored, credential):
        errors["credential"] = text
    if errors:
        raise ValidationError(errors)


def _name_error(provider: Provider) -> str:
    # It goes into response headers, and callers may give it or a kind to choose a provider.
    if not _NAME.fullmatch(provider.name):
        return "Printable ASCII, without spaces around it."
    if provider.name in Kind.values and provider.name != provider.kind:
        return "This is the name of another kind."
    return ""


def _timeout_error(provider: Provider, name: str) -> str:
    seconds = getattr(provider, name)
    if math.isfinite(seconds) and 0 < seconds <= LONGEST_TIMEOUT_SECONDS:
        return ""
    return f"More than 0 and at most {LONGEST_TIMEOUT_SECONDS} seconds."


def _base_url_error(provider: Provider) -> str:
    if not provider.base_url:
        return ""
    if provider.kind == Kind.DEMO:
        return "The demo provider has no address."
    try:
        check_base_url(provider.base_url)
    except (BaseUrlError, OutboundRefusedError) as error:
        return str(error)
    return ""


def _credential_error(provider: Provider, stored: Provider | None, credential: str | None) -> str:
    if credential is None:
        if stored is not None and stored.credential and _origin(stored) != _origin(provider):
            return "The address has changed, so the credential has to be entered again."
        return ""
    if not credential.isascii() or not credential.isprintable() or credential != credential.strip():
        return "A credential is plain ASCII text, without spaces around it."
    if credential and provider.kind == Kind.DEMO:
        return "The demo provider needs no credential."
    return ""


def _sealed(provider: Provider, stored: Provider | None, credential: str | None) -> str:
    if credential is None:
        return stored.credential if stored is not None else ""
    if not credential:
        return ""
    origin = _origin(provider)
    if stored is not None and holds(stored.credential, origin, credential):
        # The same secret again (a config file applied twice) changes nothing.
        return stored.credential
    return seal(credential, origin)


def _origin(provider: Provider) -> str:
    try:
        return origin_of(provider.kind, provider.base_url)
    except BaseUrlError:
        # What was stored before a rule grew stricter belongs to no origin at all.
        return ""
