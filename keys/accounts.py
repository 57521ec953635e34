"""Who may sign in to the console: one-time passwords, and an administrator that always remains."""

import secrets
import string

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from keys.models import User

_LETTERS = "".join(
    letter for letter in string.ascii_letters + string.digits if letter not in "0O1lI"
)
_PASSWORD_LENGTH = 20
LAST_ADMINISTRATOR = (
    "This is the last administrator who can sign in. Make somebody else an administrator first."
)


def make_one_time_password() -> str:
    """A password to be typed once: no letters that look alike, 116 bits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(_PASSWORD_LENGTH))


def set_one_time_password(user: User) -> str:
    """Give an account, saved or not, a password that must be changed at the next sign-in.

    The caller saves the account. Its sessions end, because they hang on the password.
    """
    password = make_one_time_password()
    user.set_password(password)
    user.must_change_password = True
    return password


def set_administrator(user: User, administrator: bool) -> None:
    # For now only administrators sign in: `is_staff` is what Django's admin asks for.
    user.is_superuser = administrator
    user.is_staff = administrator


def create_administrator(username: str, password: str | None = None) -> tuple[User, str | None]:
    """Make an administrator; returns the one-time password where none was given.

    Raises:
        ValidationError: the name is taken or no good.
    """
    user = User(username=username)
    set_administrator(user, True)
    one_time = None
    if password is None:
        one_time = set_one_time_password(user)
    else:
        user.set_password(password)
    user.full_clean()
    user.save()
    return user, one_time


def is_last_administrator(user: User) -> bool:
    return _is_administrator(user) and not _administrators().exclude(pk=user.pk).exists()


def save_account(user: User) -> None:
    """Save an edited account.

    Raises:
        ValidationError: nobody would be left who can administer.
    """
    with transaction.atomic():
        if not _is_administrator(user):
            _require_another(user)
        user.save()


def delete_account(user: User) -> None:
    """Delete an account with its tokens.

    Raises:
        ValidationError: nobody would be left who can administer.
    """
    with transaction.atomic():
        _require_another(user)
        user.delete()


def _require_another(user: User) -> None:
    # All are locked, the one in question too: two administrators who remove each other at the
    # same moment then come one after the other.
    names = {admin.pk for admin in _administrators().select_for_update().order_by("pk")}
    if user.pk in names and names == {user.pk}:
        raise ValidationError(LAST_ADMINISTRATOR)


def _administrators() -> QuerySet[User]:
    return User.objects.filter(is_superuser=True, is_staff=True, is_active=True)


def _is_administrator(user: User) -> bool:
    return user.is_superuser and user.is_staff and user.is_active
