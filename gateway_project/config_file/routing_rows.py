"""Applies the providers, models and prices of a config file."""

from datetime import datetime

from billing.price_edits import InvalidPriceError, set_price
from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.entries import (
    ModelEntry,
    PriceEntry,
    ProviderEntry,
    TargetEntry,
)
from gateway_project.config_file.report import Report, assign, check
from routing.base_urls import BaseUrlError, origin_of
from routing.credentials import CredentialError, Secret, seal, unseal
from routing.models import Model, Provider, Target
from routing.outbound import OutboundRefusedError, check_base_url

PRICE_SOURCE = "config file"


def apply_provider(entry: ProviderEntry, report: Report) -> None:
    _check_address(entry)
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
        _assign_credential(row, entry)
        report.added(f"provider {entry.name}")
    else:
        differences = assign(row, values)
        if _assign_credential(row, entry):
            differences.append("api_key changed")
        report.changed(f"provider {entry.name}", differences)
    check(row, entry.path)
    row.save()


def _check_address(entry: ProviderEntry) -> None:
    if entry.base_url:
        try:
            check_base_url(entry.base_url)
        except (BaseUrlError, OutboundRefusedError) as error:
            raise ConfigError(f"{entry.path}.base_url", str(error)) from None


def _assign_credential(row: Provider, entry: ProviderEntry) -> bool:
    """Store what the file gives, sealed for the provider's origin; whether that is new."""
    if entry.api_key is None:
        return False
    origin = origin_of(entry.kind, entry.base_url)
    try:
        if row.credential and unseal(row.credential, origin) == Secret(entry.api_key):
            return False
    except CredentialError:
        # It was for another address, or for keys that are gone: the file's takes its place.
        pass
    row.credential = seal(entry.api_key, origin)
    return True


def apply_model(entry: ModelEntry, report: Report) -> None:
    values = {
        "strategy": entry.strategy,
        "fallbacks": list(entry.fallbacks),
        "max_attempts": entry.max_attempts,
        "max_output_tokens": entry.max_output_tokens,
    }
    row = Model.objects.filter(name=entry.name).first()
    is_new = row is None
    if row is None:
        row = Model(name=entry.name, **values)
        report.added(f"model {entry.name}")
    else:
        report.changed(f"model {entry.name}", assign(row, values))
    check(row, entry.path)
    row.save()
    differences = _apply_targets(row, entry.targets)
    if not is_new:
        report.changed(f"model {entry.name}", differences)


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
            differences.append(f"{name} added")
        else:
            differences += [f"{name} {difference}" for difference in assign(target, values)]
        check(target, entry.path)
        target.save()
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
