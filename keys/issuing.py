"""Handing out keys and taking them back; pages, API, commands and config file all come here."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.core.exceptions import ValidationError

from keys.models import ApiKey, StaffToken, Team, User
from keys.secrets import (
    hash_secret,
    is_well_formed,
    make_secret,
    make_staff_token,
    prefix_of,
)
from keys.validation import check_expiry


def issue_key(
    team: Team,
    name: str,
    *,
    secret: str | None = None,
    allowed_models: Sequence[str] | None = None,
    allowed_ips: Sequence[str] = (),
    tags: Mapping[str, str] | None = None,
    expires_at: datetime | None = None,
    now: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key of a team and return it with its secret, which is not kept.

    Args:
        secret: one made elsewhere in our format; None makes a new one.
        now: given, an expiry before it is refused.

    Raises:
        ValidationError: a field is no good, the name is taken, or the secret is in use.
    """
    key = ApiKey(
        team=team,
        name=name,
        allowed_models=list(allowed_models) if allowed_models is not None else None,
        allowed_ips=list(allowed_ips),
        tags=dict(tags or {}),
        expires_at=expires_at,
    )
    if now is not None:
        check_expiry(expires_at, now)
    secret = put_secret(key, secret)
    key.full_clean()
    key.save()
    return key, secret


def check_name(team: Team, name: str, key_id: int | None = None) -> None:
    """Raises ValidationError where another live key of the team has the name.

    Args:
        key_id: the key that is being renamed.
    """
    named = ApiKey(pk=key_id, team=team, name=name)
    # A row that is said to be new is also compared with itself.
    named._state.adding = key_id is None
    named.validate_constraints()


def put_secret(key: ApiKey, secret: str | None = None) -> str:
    """Give an unsaved key its secret, and return it.

    Raises:
        ValidationError: the secret is not in our format.
    """
    if secret is None:
        secret = make_secret()
    elif not is_well_formed(secret):
        raise ValidationError(
            "The secret is no API key: gw_, 37 letters or digits, and 6 more as their checksum."
        )
    key.secret_hash = hash_secret(secret)
    key.prefix = prefix_of(secret)
    return secret


def revoke_key(key: ApiKey, now: datetime) -> None:
    """End a key for good. Revoking it again keeps the first moment."""
    revoke_key_by_id(key.pk, now)
    key.refresh_from_db(fields=["revoked_at"])


def revoke_key_by_id(key_id: int, now: datetime) -> None:
    ApiKey.objects.filter(pk=key_id, revoked_at=None).update(revoked_at=now)


def put_staff_secret(token: StaffToken) -> str:
    """Give an unsaved staff token its secret, and return it."""
    secret = make_staff_token()
    token.token_hash = hash_secret(secret)
    token.prefix = prefix_of(secret)
    return secret


def issue_staff_token(user: User, name: str) -> tuple[StaffToken, str]:
    """Make a token that signs a program in as a user, and return it with its secret."""
    token = StaffToken(user=user, name=name)
    secret = put_staff_secret(token)
    token.full_clean()
    token.save()
    return token, secret


def revoke_staff_token(token: StaffToken, now: datetime) -> None:
    StaffToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now)
    token.refresh_from_db(fields=["revoked_at"])
