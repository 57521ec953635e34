"""Writes the present configuration as a config file.

Applied to an empty gateway it gives the same configuration. Secrets cannot be read back, so
they stand there as `env:NAME`, for the operator to set.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from billing import models as billing
from billing.ceilings import show_ceiling
from billing.pricing import short_usd
from keys.models import ApiKey, Team
from routing.models import Model, Provider

_FIGURES = ("input", "cached_input", "cache_write", "cache_write_1h", "output")


def export_config() -> str:
    """The whole configuration; revoked keys and disabled providers' state are not part of it."""
    content = {
        "providers": [_provider(row) for row in Provider.objects.order_by("id")],
        "models": [_model(row) for row in Model.objects.prefetch_related("targets__provider")],
        "prices": [_price(row) for row in billing.Price.objects.order_by("id")],
        "teams": [_team(row) for row in Team.objects.order_by("id")],
    }
    return yaml.safe_dump(
        {name: entries for name, entries in content.items() if entries},
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )


def _provider(row: Provider) -> dict[str, Any]:
    return _told(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        api_key=f"env:{_variable(row.name)}_API_KEY" if row.credential else None,
        connect_timeout_seconds=row.connect_timeout_seconds,
        timeout_seconds=row.timeout_seconds,
        stream_idle_timeout_seconds=row.stream_idle_timeout_seconds,
        total_timeout_seconds=row.total_timeout_seconds,
        on_disconnect=row.on_disconnect,
    )


def _model(row: Model) -> dict[str, Any]:
    return _told(
        name=row.name,
        strategy=row.strategy,
        targets=[
            _told(
                provider=target.provider.name,
                model=target.upstream_model,
                priority=target.priority,
                weight=target.weight,
                price_as=target.price_as,
            )
            for target in row.targets.all()
        ],
        fallbacks=row.fallbacks,
        max_attempts=row.max_attempts,
        max_output_tokens=row.max_output_tokens,
    )


def _price(row: billing.Price) -> dict[str, Any]:
    return _told(
        provider=row.provider,
        kind=row.kind,
        model=row.model,
        effective_from=row.effective_from.isoformat(),
        **{name: _usd(getattr(row, name)) for name in _FIGURES},
        above=_told(
            input_tokens=row.above_input_tokens,
            **{name: _usd(getattr(row, f"above_{name}")) for name in _FIGURES},
        ),
    )


def _usd(nano: int | None) -> str | None:
    return None if nano is None else short_usd(nano)


def _team(row: Team) -> dict[str, Any]:
    keys = ApiKey.objects.filter(team=row, revoked_at=None).order_by("id")
    return {
        **_told(name=row.name, timezone=row.timezone),
        # An empty list of models allows none; that is not the same as to leave it out.
        **({} if row.allowed_models is None else {"models": row.allowed_models}),
        **_told(
            log_bodies=row.log_bodies or None,
            limits=_limits(row.limits.filter(key=None)),
            keys=[_key(key) for key in keys],
        ),
    }


def _key(row: ApiKey) -> dict[str, Any]:
    return {
        **_told(
            name=row.name,
            secret=f"env:{_variable(row.team.name)}_{_variable(row.name)}_KEY",
        ),
        **({} if row.allowed_models is None else {"models": row.allowed_models}),
        **_told(
            expires_at=row.expires_at and row.expires_at.isoformat(),
            allowed_ips=row.allowed_ips,
            tags=row.tags,
            limits=_limits(row.limits.all()),
        ),
    }


def _limits(rows: Iterable[billing.Limit]) -> list[dict[str, Any]]:
    return [
        _told(
            unit=row.unit,
            window=row.window,
            ceiling=show_ceiling(row.unit, row.ceiling)
            if row.unit == billing.Unit.USD
            else row.ceiling,
            per=None if row.per == billing.Per.TEAM else row.per,
            soft=row.soft or None,
            alert_at=row.alert_at,
        )
        for row in rows
    ]


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_") or "UNNAMED"


def _told(**fields: Any) -> dict[str, Any]:
    """The fields that say something: none that is empty."""
    return {name: value for name, value in fields.items() if value not in (None, "", [], {})}
