"""The rules for public models that a page, the API and the config file share."""

import re
from collections.abc import Mapping, Sequence

from django.core.exceptions import ValidationError

from routing.models import Model

MOST_ATTEMPTS = 20
_NAME = re.compile(r"[A-Za-z0-9@*][A-Za-z0-9._:/@+~*-]*")


def check_model(model: Model, *, others: Mapping[str, Sequence[str]] | None = None) -> None:
    """Check a new or changed model.

    Args:
        others: fallbacks by name of the models it will live among; None takes those stored.

    Raises:
        ValidationError: by field.
    """
    model.clean_fields()
    model.validate_unique()
    stored = Model.objects.filter(pk=model.pk).first() if model.pk else None
    errors = {}
    if not _NAME.fullmatch(model.name):
        errors["name"] = "Letters, digits and . _ : / @ + ~ - alone; * makes it a pattern."
    elif stored is not None and stored.name != model.name:
        errors["name"] = "The name stays: keys and the ledger use it."
    if not 1 <= model.max_attempts <= MOST_ATTEMPTS:
        errors["max_attempts"] = f"Between 1 and {MOST_ATTEMPTS}."
    if text := fallback_error(model.name, model.fallbacks, _stored() if others is None else others):
        errors["fallbacks"] = text
    if errors:
        raise ValidationError(errors)


def fallback_error(name: str, fallbacks: object, others: Mapping[str, Sequence[str]]) -> str:
    """Why a model cannot have these fallbacks, or an empty text.

    Args:
        others: the fallbacks of every other model, by its name.
    """
    if not isinstance(fallbacks, list) or not all(isinstance(one, str) for one in fallbacks):
        return "A list of model names."
    if len(set(fallbacks)) < len(fallbacks):
        return "A name stands in it twice."
    for one in fallbacks:
        if one == name:
            return "A model cannot be its own fallback."
        if "*" in one:
            return f"{one} is a pattern; a fallback is one model."
        if one not in others:
            return f"There is no model {one}."
    chain = _cycle(name, {**others, name: fallbacks})
    return f"The fallbacks go round in a circle: {' → '.join(chain)}." if chain else ""


def _cycle(start: str, fallbacks: Mapping[str, Sequence[str]]) -> list[str]:
    """A way from a name back to itself; empty where there is none."""
    ways, seen = [[start]], {start}
    while ways:
        way = ways.pop()
        for following in fallbacks.get(way[-1], ()):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []


def _stored() -> dict[str, list[str]]:
    return dict(Model.objects.values_list("name", "fallbacks"))
