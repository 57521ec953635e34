"""What may stand in a team's or a key's fields, and what a person who mistyped it is told."""

from collections.abc import Iterable
from datetime import datetime, time
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.dateparse import parse_date, parse_datetime

_LONGEST_MODEL_NAME = 200
_LONGEST_TAG_PART = 250
_MOST_ENTRIES = 200


# In the list of many a system: what the host is set to, and "not set yet".
_NO_ZONES = {"localtime", "Factory"}


@cache
def timezone_names() -> tuple[str, ...]:
    """Every IANA name that a team can be in, UTC first."""
    return ("UTC", *sorted(available_timezones() - _NO_ZONES - {"UTC"}))


def validate_timezone(name: str) -> None:
    if name not in timezone_names():
        raise ValidationError(
            f"“{name}” is no IANA time zone{_did_you_mean(name, timezone_names())}."
        )


def validate_model_names(names: Any) -> None:
    """A list of model names or patterns, or None."""
    for name in _list_of_text(names, "model names"):
        if not name or name != name.strip() or set(name) & set(" \t\n,;\"'"):
            raise ValidationError(f"“{name}” is no model name: write one name per entry.")
        if len(name) > _LONGEST_MODEL_NAME:
            raise ValidationError(f"A model name has at most {_LONGEST_MODEL_NAME} characters.")


def validate_networks(networks: Any) -> None:
    """A list of addresses and networks; a network has no bits below its mask."""
    for text in _list_of_text(networks, "addresses"):
        try:
            ip_network(text)
        except ValueError:
            raise ValidationError(_why_no_network(text)) from None


def validate_tags(tags: Any) -> None:
    """An object of texts; `=`, `,` and `;` separate tags elsewhere, so no tag holds them."""
    if not isinstance(tags, dict):
        raise ValidationError('Tags are an object of texts, such as {"env": "prod"}.')
    if len(tags) > _MOST_ENTRIES:
        raise ValidationError(f"At most {_MOST_ENTRIES} tags.")
    for name, value in tags.items():
        for part in (name, value):
            if not isinstance(part, str) or not part or set(part) & set("=,;\r\n\0"):
                raise ValidationError(
                    f"The tag “{name}” needs a name and a value, both without = , ; or line ends."
                )
            if len(part) > _LONGEST_TAG_PART:
                raise ValidationError(f"The tag “{name[:40]}” is too long.")


def parse_expiry(text: str, timezone: str) -> datetime:
    """Read an expiry: a moment, or a day that is still included, in the team's time zone.

    Raises:
        ValidationError: it is neither.
    """
    zone = ZoneInfo(timezone)
    try:
        day = parse_date(text) if len(text) == len("2026-12-31") else None
        moment = datetime.combine(day, time.max, zone) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise ValidationError(
            f"“{text}” is no date: write it as 2030-12-31 or 2030-12-31T18:00:00+01:00."
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


def check_expiry(expires_at: datetime | None, now: datetime) -> None:
    """Raises ValidationError when a key would be dead at birth."""
    if expires_at is not None and expires_at <= now:
        raise ValidationError(f"The expiry {expires_at:%Y-%m-%d %H:%M %Z} is in the past.")


def in_one_line(error: ValidationError) -> str:
    """The words of an error, each with its field, for a terminal."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return " ".join(
        message if field == NON_FIELD_ERRORS else f"{field}: {message}"
        for field, texts in error.message_dict.items()
        for message in texts
    )


def suggestion(name: str, known: Iterable[str]) -> str:
    """The known name that somebody probably meant; empty when none is near."""
    return next(iter(get_close_matches(name, list(known), n=1, cutoff=0.6)), "")


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    by_lower = {candidate.lower(): candidate for candidate in known}
    near = suggestion(name.lower().replace(" ", "_"), by_lower)
    return f"; did you mean {by_lower[near]}?" if near else ", such as Europe/Paris"


def _why_no_network(text: str) -> str:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return f"“{text}” is no address or network, such as 192.0.2.7 or 10.0.0.0/8."
    return f"“{text}” has bits below its mask; did you mean {network}?"


def _list_of_text(value: Any, what: str) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValidationError(f"The {what} are a list of texts.")
    if len(value) > _MOST_ENTRIES:
        raise ValidationError(f"At most {_MOST_ENTRIES} {what}.")
    return value
