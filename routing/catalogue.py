"""The models that callers may name and where each goes: an immutable copy of the database.

A worker holds one `Catalogue` and swaps it whole. Providers whose configuration did not change
keep their live client, with its open connections, from one catalogue to the next.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.conf import settings

from routing.base_urls import BaseUrlError, origin_of
from routing.credentials import CredentialError, Secret, unseal
from routing.models import Model, Provider
from routing.providers import ProviderConfig, Upstream, build

log = structlog.get_logger("gateway.catalogue")

# What a target's upstream model says to pass the caller's own name on.
SAME_NAME = "*"
DEFAULT_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Target:
    """One place where a call may go.

    Attributes:
        price_model: the name under which its price is looked up.
    """

    provider: Upstream
    upstream_model: str
    priority: int
    weight: int
    price_model: str


@dataclass(frozen=True, slots=True)
class Route:
    """Where the calls of one public model go.

    Attributes:
        model: the name as the caller asked for it, also where a pattern matched.
        fallbacks: public names to try after its own targets, in order.
        max_attempts: upstream attempts in all, fallbacks included.
    """

    model: str
    strategy: str
    targets: tuple[Target, ...]
    fallbacks: tuple[str, ...]
    max_attempts: int
    max_output_tokens: int | None


@dataclass(frozen=True, slots=True)
class PublicModel:
    name: str
    created_at: datetime


class Catalogue:
    """All routes of one moment."""

    def __init__(
        self,
        routes: Iterable[Route] = (),
        *,
        public: Iterable[PublicModel] = (),
        default_provider: Upstream | None = None,
    ) -> None:
        self._exact: dict[str, Route] = {}
        patterns: list[tuple[re.Pattern[str], Route]] = []
        for route in routes:
            if SAME_NAME in route.model:
                patterns.append((_pattern(route.model), route))
            else:
                self._exact[route.model] = _named(route, route.model)
        # The most specific first: the one that spells out most of the name.
        patterns.sort(key=lambda one: (-len(one[1].model.replace("*", "")), one[1].model))
        self._patterns = tuple(patterns)
        self._public = tuple(public)
        self._default_provider = default_provider

    def find(self, model: str) -> Route | None:
        """The route of a name: the exact one, else a pattern's, else the default provider's."""
        if route := self._exact.get(model):
            return route
        for pattern, route in self._patterns:
            if pattern.fullmatch(model):
                return _named(route, model)
        if self._default_provider is not None:
            return _default_route(model, self._default_provider)
        return None

    def public_models(self) -> tuple[PublicModel, ...]:
        """The names that can be listed; what only a pattern matches cannot."""
        return self._public


class CatalogueLoader:
    """Reads catalogues for one process, and owns the live providers in them."""

    def __init__(self) -> None:
        self._live: dict[int, tuple[ProviderConfig, Upstream]] = {}
        self._replaced: list[Upstream] = []

    def load(self) -> Catalogue:
        """Read the present state. Synchronous: two queries and, with targets, a third."""
        live = {}
        for row in Provider.objects.filter(enabled=True):
            config = config_of(row)
            kept = self._live.get(row.pk)
            try:
                live[row.pk] = kept if kept and kept[0] == config else (config, build(config))
            except BaseUrlError as error:
                # One provider that cannot be must not keep the others from being reloaded.
                log.error("provider_left_out", provider=row.name, reason=str(error))
        upstreams = {key: upstream for key, (_, upstream) in live.items()}
        rows = list(Model.objects.prefetch_related("targets"))
        catalogue = Catalogue(
            [_route(row, upstreams) for row in rows],
            public=[PublicModel(r.name, r.created_at) for r in rows if SAME_NAME not in r.name],
            default_provider=next(
                (one for one in upstreams.values() if one.name == settings.DEFAULT_PROVIDER), None
            ),
        )
        kept_ids = {id(upstream) for upstream in upstreams.values()}
        self._replaced += [one for _, one in self._live.values() if id(one) not in kept_ids]
        self._live = live
        return catalogue

    async def close_replaced(self) -> None:
        """Let go of providers that no catalogue holds; calls in flight on them finish first."""
        while self._replaced:
            await self._replaced.pop().close()

    async def close(self) -> None:
        await self.close_replaced()
        for _, upstream in self._live.values():
            await upstream.close()


def config_of(row: Provider) -> ProviderConfig:
    """A provider's row with its credential in clear, for the client that will send it."""
    fault, secret = "", Secret("")
    try:
        secret = unseal(row.credential, origin_of(row.kind, row.base_url))
    except (CredentialError, ValueError) as error:
        fault = str(error)
    return ProviderConfig(
        id=row.pk,
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        secret=secret,
        connect_timeout_seconds=row.connect_timeout_seconds,
        timeout_seconds=row.timeout_seconds,
        stream_idle_timeout_seconds=row.stream_idle_timeout_seconds,
        total_timeout_seconds=row.total_timeout_seconds,
        on_disconnect=row.on_disconnect,
        credential_fault=fault,
    )


def matches(pattern: str, name: str) -> bool:
    """Whether a public name is a pattern's; only `*` is special in one."""
    return _pattern(pattern).fullmatch(name) is not None


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in text.split("*")), re.DOTALL)


def _route(row: Model, upstreams: dict[int, Upstream]) -> Route:
    return Route(
        model=row.name,
        strategy=row.strategy,
        targets=tuple(
            Target(
                provider=upstreams[target.provider_id],
                upstream_model=target.upstream_model,
                priority=target.priority,
                weight=target.weight,
                price_model=target.price_as or target.upstream_model,
            )
            for target in row.targets.all()
            if target.provider_id in upstreams
        ),
        fallbacks=tuple(row.fallbacks),
        max_attempts=row.max_attempts,
        max_output_tokens=row.max_output_tokens,
    )


def _named(route: Route, model: str) -> Route:
    return replace(route, model=model, targets=tuple(_sent_as(t, model) for t in route.targets))


def _sent_as(target: Target, model: str) -> Target:
    if target.upstream_model != SAME_NAME:
        return target
    price_model = model if target.price_model == SAME_NAME else target.price_model
    return replace(target, upstream_model=model, price_model=price_model)


def _default_route(model: str, provider: Upstream) -> Route:
    return Route(
        model=model,
        strategy=Model.Strategy.PRIORITY.value,
        targets=(Target(provider, model, priority=1, weight=1, price_model=model),),
        fallbacks=(),
        max_attempts=DEFAULT_MAX_ATTEMPTS,
        max_output_tokens=None,
    )
