"""Checks that every name in a config file leads somewhere: in the file, or configured already."""

from django.conf import settings

from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.entries import ConfigFile, TeamEntry
from keys.validation import suggestion
from routing.catalogue import matches
from routing.models import Model, Provider


def check_names(config: ConfigFile, *, prune: bool) -> None:
    """Raises ConfigError with the path of the first name that dangles.

    Args:
        prune: only what the file names will be left, so only that counts.
    """
    providers = {entry.name for entry in config.providers}
    models = {entry.name for entry in config.models}
    if not prune:
        providers |= set(Provider.objects.values_list("name", flat=True))
        models |= set(Model.objects.values_list("name", flat=True))
    _check_models(config, providers, models)
    for price in config.prices:
        if price.provider:
            _require(price.provider, providers, f"{price.path}.provider", "provider")
    for team in config.teams:
        _check_callable(team, models)


def _check_models(config: ConfigFile, providers: set[str], models: set[str]) -> None:
    for model in config.models:
        for target in model.targets:
            _require(target.provider, providers, f"{target.path}.provider", "provider")
        for position, fallback in enumerate(model.fallbacks):
            path = f"{model.path}.fallbacks[{position}]"
            if "*" in fallback:
                raise ConfigError(path, "a fallback is one model, not a pattern")
            if fallback == model.name:
                raise ConfigError(path, "a model cannot be its own fallback")
            _require_callable(fallback, models, path)


def _check_callable(team: TeamEntry, models: set[str]) -> None:
    for path, names in (
        (f"{team.path}.models", team.models),
        *((f"{key.path}.models", key.models) for key in team.keys),
    ):
        for position, name in enumerate(names or ()):
            # A pattern may wait for models to come.
            if "*" not in name:
                _require_callable(name, models, f"{path}[{position}]")


def _require_callable(name: str, models: set[str], path: str) -> None:
    """A default provider takes any name."""
    if not settings.DEFAULT_PROVIDER and not any(matches(model, name) for model in models):
        _require(name, models, path, "model")


def _require(name: str, known: set[str], path: str, what: str) -> None:
    if name not in known:
        near = suggestion(name, known)
        hint = f"; did you mean {near}?" if near else ""
        raise ConfigError(path, f"there is no {what} {name!r}{hint}")
