"""Checks that every name in a config file leads somewhere: in the file, or configured already."""

from collections.abc import Collection, Mapping, Sequence

from django.conf import settings

from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.entries import ConfigFile, ModelEntry, TeamEntry
from keys.validation import suggestion
from routing.catalogue import matches
from routing.model_edits import fallback_error
from routing.models import Model, Provider


def check_names(config: ConfigFile, *, prune: bool) -> dict[str, Sequence[str]]:
    """Check every name, and return the fallbacks of each model there will be, by its name.

    Args:
        prune: only what the file names will be left, so only that counts.

    Raises:
        ConfigError: with the path of the first name that dangles.
    """
    providers = {entry.name for entry in config.providers}
    models: dict[str, Sequence[str]] = {}
    if not prune:
        providers |= set(Provider.objects.values_list("name", flat=True))
        models |= Model.objects.values_list("name", "fallbacks")
    models |= {entry.name: list(entry.fallbacks) for entry in config.models}
    for model in config.models:
        _check_model(model, providers, models)
    for price in config.prices:
        if price.provider:
            _require(price.provider, providers, f"{price.path}.provider", "provider")
    for team in config.teams:
        _check_callable(team, models)
    return models


def _check_model(
    model: ModelEntry, providers: Collection[str], models: Mapping[str, Sequence[str]]
) -> None:
    for target in model.targets:
        _require(target.provider, providers, f"{target.path}.provider", "provider")
    for position, fallback in enumerate(model.fallbacks):
        if "*" not in fallback:
            _require(fallback, models, f"{model.path}.fallbacks[{position}]", "model")
    if error := fallback_error(model.name, list(model.fallbacks), models):
        raise ConfigError(f"{model.path}.fallbacks", error)


def _check_callable(team: TeamEntry, models: Collection[str]) -> None:
    for path, names in (
        (f"{team.path}.models", team.models),
        *((f"{key.path}.models", key.models) for key in team.keys),
    ):
        for position, name in enumerate(names or ()):
            # A pattern may wait for models to come, and a default provider takes any name.
            by_pattern = "*" in name or any(matches(model, name) for model in models)
            if not by_pattern and not settings.DEFAULT_PROVIDER:
                _require(name, models, f"{path}[{position}]", "model")


def _require(name: str, known: Collection[str], path: str, what: str) -> None:
    if name not in known:
        near = suggestion(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(path, f"there is no {what} {name!r}{hint}")
