"""Reads a config file into records, refusing whatever is not exactly right, with its path.

Nothing is asked of the database here: whether a name dangles is known only with what is
configured already, and is checked in `applying`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from typing import Any

from billing.models import Per, Unit, Window
from billing.pricing import LARGEST_NANO_USD, Price, parse_usd
from gateway_project.config_file.document import ConfigError, Node, parse_yaml
from gateway_project.config_file.entries import (
    ConfigFile,
    KeyEntry,
    LimitEntry,
    ModelEntry,
    PriceEntry,
    ProviderEntry,
    TargetEntry,
    TeamEntry,
)
from keys.secrets import is_well_formed
from keys.validation import (
    parse_expiry,
    validate_model_names,
    validate_networks,
    validate_tags,
    validate_timezone,
)
from routing.base_urls import parse_base_url
from routing.models import Kind, Model, Provider

_KINDS_TO_COME = ("azure", "google")
_ENVIRONMENT = "env:"
_FIGURES = ("input", "cached_input", "cache_write", "cache_write_1h", "output")
_MOST_PRICE_NANO = 10**15


def read_config(text: str, variables: Mapping[str, str]) -> ConfigFile:
    """Read a whole file.

    Args:
        variables: the environment, for values written as `env:NAME`.

    Raises:
        ConfigError: begins with the path to the first thing that is wrong.
    """
    root = parse_yaml(text)
    if root.value is None:
        raise ConfigError("", "the file is empty")
    return _Reader(variables).file(root)


@dataclass(frozen=True, slots=True)
class _Reader:
    variables: Mapping[str, str]

    def file(self, node: Node) -> ConfigFile:
        fields = node.fields(("providers", "models", "prices", "teams"))
        providers = tuple(map(self.provider, fields["providers"].items()))
        models = tuple(map(_model, fields["models"].items()))
        prices = tuple(map(_price, fields["prices"].items()))
        teams = tuple(map(self.team, fields["teams"].items()))
        _refuse_twins(providers, lambda entry: entry.name)
        _refuse_twins(models, lambda entry: entry.name)
        _refuse_twins(
            prices, lambda entry: (entry.provider, entry.kind, entry.model, entry.effective_from)
        )
        _refuse_twins(teams, lambda entry: entry.name)
        return ConfigFile(providers, models, prices, teams)

    def provider(self, node: Node) -> ProviderEntry:
        fields = node.fields(
            (
                *("name", "kind", "base_url", "api_key", "api_version"),
                *("connect_timeout_seconds", "timeout_seconds", "stream_idle_timeout_seconds"),
                *("total_timeout_seconds", "on_disconnect"),
            )
        )
        kind = _kind(fields["kind"].required())
        if fields["api_version"].value is not None:
            raise fields["api_version"].refuse("not available in this version")
        if fields["base_url"].value is not None:
            fields["base_url"].parsed(lambda _: parse_base_url(fields["base_url"].text()))
        return ProviderEntry(
            path=node.path,
            name=fields["name"].name(100),
            kind=kind,
            base_url=fields["base_url"].text(),
            api_key=self._secret(fields["api_key"]),
            connect_timeout_seconds=fields["connect_timeout_seconds"].seconds(2),
            timeout_seconds=fields["timeout_seconds"].seconds(60),
            stream_idle_timeout_seconds=fields["stream_idle_timeout_seconds"].seconds(60),
            total_timeout_seconds=fields["total_timeout_seconds"].seconds(600),
            on_disconnect=fields["on_disconnect"].choice(
                Provider.OnDisconnect.values, Provider.OnDisconnect.CANCEL
            ),
        )

    def team(self, node: Node) -> TeamEntry:
        fields = node.fields(("name", "timezone", "models", "log_bodies", "limits", "keys"))
        timezone = fields["timezone"].text("UTC")
        fields["timezone"].parsed(lambda _: validate_timezone(timezone))
        keys = tuple(self.key(key, timezone) for key in fields["keys"].items())
        _refuse_twins(keys, lambda entry: entry.name.lower())
        if fields["log_bodies"].boolean():
            raise fields["log_bodies"].refuse("not available in this version; only false is")
        return TeamEntry(
            path=node.path,
            name=fields["name"].name(100),
            timezone=timezone,
            models=_model_names(fields["models"]),
            log_bodies=False,
            limits=_limits(fields["limits"], of_key=False),
            keys=keys,
        )

    def key(self, node: Node, timezone: str) -> KeyEntry:
        fields = node.fields(
            ("name", "secret", "limits", "models", "expires_at", "allowed_ips", "tags")
        )
        secret = self._secret(fields["secret"])
        if secret is not None and not is_well_formed(secret):
            raise fields["secret"].refuse(
                "is no API key: gw_, 37 letters or digits, and 6 more as their checksum"
            )
        expiry, tags = fields["expires_at"], fields["tags"]
        if tags.value is not None:
            tags.parsed(validate_tags)
        return KeyEntry(
            path=node.path,
            name=fields["name"].name(100),
            secret=secret,
            models=_model_names(fields["models"]),
            allowed_ips=_texts(fields["allowed_ips"], validate_networks) or (),
            tags=dict(tags.value or {}),
            expires_at=None
            if expiry.value is None
            else expiry.parsed(lambda _: parse_expiry(expiry.text(), timezone)),
            limits=_limits(fields["limits"], of_key=True),
        )

    def _secret(self, node: Node) -> str | None:
        if node.value is None:
            return None
        text = node.text(longest=1000) if isinstance(node.value, str) else ""
        if not text:
            # What was written there is not repeated: it may be the secret.
            raise node.refuse("must be a text, or env:NAME")
        if not text.startswith(_ENVIRONMENT):
            return text
        name = text.removeprefix(_ENVIRONMENT)
        value = self.variables.get(name, "").strip()
        if not value:
            raise node.refuse(f"the environment variable {name} is not set")
        return value


def _kind(node: Node) -> str:
    if node.value in _KINDS_TO_COME:
        raise node.refuse(f"{node.value} is not available in this version")
    return node.choice(Kind.values)


def _model(node: Node) -> ModelEntry:
    fields = node.fields(
        (
            *("name", "strategy", "targets", "fallbacks"),
            *("max_attempts", "max_output_tokens", "cache_ttl_seconds"),
        )
    )
    name = fields["name"].name(200)
    fields["name"].parsed(lambda _: validate_model_names([name]))
    if fields["cache_ttl_seconds"].whole(0, 10**9, default=0):
        raise fields["cache_ttl_seconds"].refuse("not available in this version; only 0 is")
    targets = tuple(map(_target, fields["targets"].items()))
    if not targets:
        raise fields["targets"].refuse("needs at least one target")
    _refuse_twins(targets, lambda entry: (entry.provider, entry.model))
    tokens = fields["max_output_tokens"]
    return ModelEntry(
        path=node.path,
        name=name,
        strategy=fields["strategy"].choice(Model.Strategy.values, Model.Strategy.PRIORITY),
        targets=targets,
        fallbacks=_texts(fields["fallbacks"], lambda _: None) or (),
        max_attempts=fields["max_attempts"].whole(1, 20, default=3),
        max_output_tokens=None if tokens.value is None else tokens.whole(1, 10_000_000),
    )


def _target(node: Node) -> TargetEntry:
    fields = node.fields(("provider", "model", "priority", "weight", "price_as"))
    return TargetEntry(
        path=node.path,
        provider=fields["provider"].name(100),
        model=fields["model"].name(200),
        priority=fields["priority"].whole(0, 1000, default=1),
        weight=fields["weight"].whole(0, 1000, default=1),
        price_as=fields["price_as"].text(longest=200),
    )


def _price(node: Node) -> PriceEntry:
    fields = node.fields(("provider", "kind", "model", "effective_from", *_FIGURES, "above"))
    if (fields["provider"].value is None) == (fields["kind"].value is None):
        raise node.refuse("give either provider or kind")
    effective = fields["effective_from"]
    return PriceEntry(
        path=node.path,
        provider=fields["provider"].text(longest=100),
        kind="" if fields["kind"].value is None else _kind(fields["kind"]),
        model=fields["model"].name(200),
        effective_from=None
        if effective.value is None
        else effective.parsed(lambda _: _instant(effective.text())),
        price=_figures(fields),
    )


def _figures(fields: Mapping[str, Node]) -> Price:
    least = Price(
        id=0,
        input=_usd(fields["input"], _MOST_PRICE_NANO),
        output=_usd(fields["output"], _MOST_PRICE_NANO),
    )
    others: dict[str, Any] = {
        name: _usd_or_none(fields[name]) for name in _FIGURES if name not in ("input", "output")
    }
    if fields["above"].value is not None:
        above = fields["above"].fields(("input_tokens", *_FIGURES))
        others["above_input_tokens"] = above["input_tokens"].whole(1, 10**9)
        others |= {f"above_{name}": _usd_or_none(above[name]) for name in _FIGURES}
    return replace(least, **others)


def _usd_or_none(node: Node) -> int | None:
    return None if node.value is None else _usd(node, _MOST_PRICE_NANO)


def _usd(node: Node, most: int) -> int:
    """Nano-dollars of a decimal text. A YAML float is binary already, so it is refused."""
    value = node.required().value
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise node.refuse(f'must be an amount in quotes, such as "2.50", not {value!r}')
    nano = node.parsed(lambda _: parse_usd(str(value)))
    if nano > most:
        raise node.refuse("is too large")
    return nano


def _instant(text: str) -> datetime:
    try:
        if len(text) == len("2026-01-01"):
            return datetime.combine(date.fromisoformat(text), time.min, UTC)
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise ValueError(f"must be like 2026-01-01T00:00:00Z, not {text!r}")
    return instant.astimezone(UTC)


def _limits(node: Node, *, of_key: bool) -> tuple[LimitEntry, ...]:
    limits = tuple(_limit(limit, of_key=of_key) for limit in node.items())
    _refuse_twins(limits, lambda entry: entry.identity)
    return limits


def _limit(node: Node, *, of_key: bool) -> LimitEntry:
    fields = node.fields(("unit", "window", "ceiling", "per", "soft", "alert_at"))
    unit = fields["unit"].choice(Unit.values)
    window = fields["window"]
    if unit == Unit.CONCURRENT and window.value is not None:
        raise window.refuse("a concurrent limit has no window")
    for only_counted in (fields["soft"], fields["alert_at"]):
        if unit == Unit.CONCURRENT and only_counted.value:
            raise only_counted.refuse("a concurrent limit only refuses; it has nothing to alert of")
    usd = unit == Unit.USD
    return LimitEntry(
        path=node.path,
        unit=unit,
        window="" if unit == Unit.CONCURRENT else window.choice(Window.values),
        per=_per(fields["per"], of_key=of_key),
        ceiling=_usd(fields["ceiling"], LARGEST_NANO_USD)
        if usd
        else fields["ceiling"].whole(0, LARGEST_NANO_USD),
        soft=fields["soft"].boolean(),
        alert_at=tuple(map(_share, fields["alert_at"].items())),
    )


def _per(node: Node, *, of_key: bool) -> str:
    if not of_key:
        return node.choice(Per.values, Per.TEAM)
    # A key's own limit counts that key; the tables say "team" for "of its owner as a whole".
    per = node.choice((Per.KEY, Per.END_USER), Per.KEY)
    return Per.TEAM if per == Per.KEY else per


def _share(node: Node) -> float:
    value = node.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 10:
        raise node.refuse(f"must be over 0 and at most 10, a share of the ceiling, not {value!r}")
    return float(value)


def _model_names(node: Node) -> tuple[str, ...] | None:
    return _texts(node, validate_model_names)


def _texts(node: Node, validate: Callable[[Any], None]) -> tuple[str, ...] | None:
    """A list of texts, each checked alone so that the refusal names it; None when absent."""
    if node.value is None:
        return None
    for item in node.items():
        item.name(500)
        item.parsed(lambda value: validate([value]))
    return tuple(node.value)


def _refuse_twins(entries: Iterable[Any], identity: Callable[[Any], Hashable]) -> None:
    first: dict[Hashable, str] = {}
    for entry in entries:
        earlier = first.setdefault(identity(entry), entry.path)
        if earlier != entry.path:
            raise ConfigError(entry.path, f"is the same as {earlier}")
