"""What the config file says, as frozen records. A value that is absent has its default here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from billing.limit_edits import LimitIdentity
from billing.pricing import Price


@dataclass(frozen=True, slots=True)
class ProviderEntry:
    """Attributes: api_key: None when the file gives none; what is stored then stays."""

    path: str
    name: str
    kind: str
    base_url: str
    api_key: str | None = field(repr=False)
    connect_timeout_seconds: float
    timeout_seconds: float
    stream_idle_timeout_seconds: float
    total_timeout_seconds: float
    on_disconnect: str


@dataclass(frozen=True, slots=True)
class TargetEntry:
    path: str
    provider: str
    model: str
    priority: int
    weight: int
    price_as: str


@dataclass(frozen=True, slots=True)
class ModelEntry:
    path: str
    name: str
    strategy: str
    targets: tuple[TargetEntry, ...]
    fallbacks: tuple[str, ...]
    max_attempts: int
    max_output_tokens: int | None


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """Attributes: effective_from: None means from the beginning, or from now on."""

    path: str
    provider: str
    kind: str
    model: str
    effective_from: datetime | None
    price: Price


@dataclass(frozen=True, slots=True)
class LimitEntry:
    """Attributes: ceiling: nano-dollars for usd limits."""

    path: str
    unit: str
    window: str
    per: str
    ceiling: int
    soft: bool
    alert_at: tuple[float, ...]

    @property
    def identity(self) -> LimitIdentity:
        return (self.unit, self.window, self.per, self.soft)


@dataclass(frozen=True, slots=True)
class KeyEntry:
    path: str
    name: str
    secret: str | None = field(repr=False)
    models: tuple[str, ...] | None
    allowed_ips: tuple[str, ...]
    tags: Mapping[str, str]
    expires_at: datetime | None
    limits: tuple[LimitEntry, ...]


@dataclass(frozen=True, slots=True)
class TeamEntry:
    path: str
    name: str
    timezone: str
    models: tuple[str, ...] | None
    log_bodies: bool
    limits: tuple[LimitEntry, ...]
    keys: tuple[KeyEntry, ...]


@dataclass(frozen=True, slots=True)
class ConfigFile:
    providers: tuple[ProviderEntry, ...]
    models: tuple[ModelEntry, ...]
    prices: tuple[PriceEntry, ...]
    teams: tuple[TeamEntry, ...]
