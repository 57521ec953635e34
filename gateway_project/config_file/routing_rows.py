"""Applies the providers, models and prices of a config file."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from django.core.exceptions import ValidationError

from billing.price_edits import InvalidPriceError, set_price
from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.entries import (
    ModelEntry,
    PriceEntry,
    ProviderEntry,
    TargetEntry,
)
from gateway_project.config_file.report import Report, assign, check, refusal
from routing.base_urls import origin_of
from routing.credentials import CredentialError, Secret, unseal
from routing.model_edits import check_model
from routing.models import Model, Provider, Target
from routing.provider_edits import save_provider

PRICE_SOURCE = "config file"


def apply_provider(entry: ProviderEntry, report: Report) -> None:
    values = {
        "kind": entry.kind,
        "base_url": entry.base_url,
        "connect_timeout_seconds": entry.connect_timeout_seconds,
        "timeout_seconds": entry.timeout_seconds,
        "stream_idle_timeout_seconds": entry.stream_idle_timeout_seconds,
        "total_timeout_seconds": entry.total_timeout_seconds,
        "on_disconnect": entry.on_disconnect,
    }
    row = Provider.objects.filter(name=entry.name).first()
    if row is None:
        row = Provider(name=entry.name, **values)
        report.added(f"provider {entry.name}")
        _save(row, entry, entry.api_key)
        return
    differences = assign(row, values)
    credential = None if _holds(row, entry) else entry.api_key
    if credential is not None:
        differences.append("api_key changed")
    if differences:
        report.changed(f"provider {entry.name}", differences)
        _save(row, entry, credential)


def _save(row: Provider, entry: ProviderEntry, credential: str | None) -> None:
    try:
        save_provider(row, credential=credential)
    except ValidationError as error:
        raise refusal(error, entry.path) from None


def _holds(row: Provider, entry: ProviderEntry) -> bool:
    """Whether the credential of the file is stored already, for the address of the file."""
    if not row.credential or entry.api_key is None:
        return False
    try:
        stored = unseal(row.credential, origin_of(entry.kind, entry.base_url))
    except CredentialError:
        # It was for another address, or for keys that are gone: the file's takes its place.
        return False
    return stored == Secret(entry.api_key)


def apply_model(entry: ModelEntry, report: Report, fallbacks: Mapping[str, Sequence[str]]) -> None:
    """Args: fallbacks: of every model there will be, by its name."""
    values = {
        "strategy": entry.strategy,
        "fallbacks": list(entry.fallbacks),
        "max_attempts": entry.max_attempts,
        "max_output_tokens": entry.max_output_tokens,
    }
    row = Model.objects.filter(name=entry.name).first()
    if row is None:
        row = Model(name=entry.name, **values)
        report.added(f"model {entry.name}")
        _save_model(row, entry, fallbacks)
        _apply_targets(row, entry.targets)
        return
    differences = assign(row, values)
    if differences:
        _save_model(row, entry, fallbacks)
    report.changed(f"model {entry.name}", differences + _apply_targets(row, entry.targets))


def _save_model(row: Model, entry: ModelEntry, fallbacks: Mapping[str, Sequence[str]]) -> None:
    try:
        check_model(row, others=fallbacks)
    except ValidationError as error:
        raise refusal(error, entry.path) from None
    row.save()


def _apply_targets(row: Model, entries: tuple[TargetEntry, ...]) -> list[str]:
    """Make a model's targets exactly those of the file."""
    present = {
        (target.provider.name, target.upstream_model): target
        for target in row.targets.select_related("provider")
    }
    differences = []
    for entry in entries:
        name = f"target {entry.provider}/{entry.model}"
        values = {
            "priority": entry.priority,
            "weight": entry.weight,
            "price_as": entry.price_as,
        }
        target = present.pop((entry.provider, entry.model), None)
        if target is None:
            provider = Provider.objects.get(name=entry.provider)
            target = Target(model=row, provider=provider, upstream_model=entry.model, **values)
            found = ["added"]
        else:
            found = assign(target, values)
        if found:
            check(target, entry.path)
            target.save()
        differences += [f"{name} {difference}" for difference in found]
    for (provider_name, upstream_model), target in present.items():
        target.delete()
        differences.append(f"target {provider_name}/{upstream_model} removed")
    return differences


def apply_price(entry: PriceEntry, report: Report, now: datetime) -> None:
    try:
        added = set_price(
            entry.price,
            provider=entry.provider,
            kind=entry.kind,
            model=entry.model,
            effective_from=entry.effective_from,
            source=PRICE_SOURCE,
            now=now,
        )
    except InvalidPriceError as error:
        raise ConfigError(f"{entry.path}.{error.field}", error.message) from None
    if added is not None:
        report.added(f"price {added}")
