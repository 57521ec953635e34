"""In which order the targets of a call are tried.

`priority` takes the lowest number first, equal ones in the order they were set up. The other
strategies order the targets within one priority, so a lower number still goes first whatever
the strategy: `weighted` by chance in proportion to the weights (0 only after all others),
`lowest_latency` by a moving average (unmeasured ones first, to be measured), `lowest_cost` by
price (unknown ones last). A fallback's targets come after all of the model's own.
"""

from collections.abc import Callable, Iterator
from random import Random

from keys.errors import InvalidRequestError
from routing.catalogue import Catalogue, Route, Target
from routing.errors import NoTargetAvailableError
from routing.health import Health

PriceOf = Callable[[Target], int | None]
_NEVER = float("inf")


def candidates(
    catalogue: Catalogue,
    route: Route,
    *,
    provider: str | None,
    health: Health,
    price_of: PriceOf,
    monotonic: float,
    random: Random,
) -> list[Target]:
    """The targets to try, in order; at least one. Cooling ones are left out.

    The first is about to be asked: after a cooling, it is this call that probes it.

    Args:
        provider: the caller's own choice, a provider's name or kind; None for any.
        price_of: any measure by which prices compare; None for unknown.

    Raises:
        NoTargetAvailableError: all are cooling, for how long; or none is set up. HTTP 503.
        InvalidRequestError: the model does not go to the provider asked for. HTTP 400.
    """
    ordered: list[Target] = []
    places: set[tuple[int, str]] = set()
    shortest_wait = _NEVER
    for target in _in_order(catalogue, route, health, price_of, random):
        place = (target.provider.id, target.upstream_model)
        if place in places or not _is_chosen(target, provider):
            continue
        places.add(place)
        wait = max(health.cooling_for(target, monotonic), health.probe_out_for(target, monotonic))
        if wait > 0:
            shortest_wait = min(shortest_wait, wait)
        else:
            ordered.append(target)
    if ordered:
        health.claim_probe(ordered[0], monotonic)
        return ordered
    if provider is not None and not places:
        raise InvalidRequestError(
            f"The model {route.model} does not go to a provider {provider}.", param="provider"
        )
    raise NoTargetAvailableError(
        f"No provider of the model {route.model} is available.",
        retry_after_seconds=None if shortest_wait == _NEVER else shortest_wait,
    )


def _in_order(
    catalogue: Catalogue, route: Route, health: Health, price_of: PriceOf, random: Random
) -> Iterator[Target]:
    """A route's targets, then those of its fallbacks, each name once."""
    pending, seen = [route], {route.model}
    while pending:
        current = pending.pop(0)
        yield from _ranked(current, health, price_of, random)
        for name in current.fallbacks:
            if name not in seen and (fallback := catalogue.find(name)) is not None:
                seen.add(name)
                pending.append(fallback)


def _ranked(
    route: Route, health: Health, price_of: PriceOf, random: Random
) -> tuple[Target, ...] | list[Target]:
    targets = route.targets
    if len(targets) < 2:
        return targets
    match route.strategy:
        case "weighted":
            # Sorting by u^(1/w) draws without replacement in proportion to the weights.
            def rank(target: Target) -> float:
                return -(random.random() ** (1 / target.weight)) if target.weight else 1.0

        case "lowest_latency":

            def rank(target: Target) -> float:
                return health.latency_ms(target) or 0.0

        case "lowest_cost":

            def rank(target: Target) -> float:
                price = price_of(target)
                return _NEVER if price is None else price

        case _:

            def rank(target: Target) -> float:
                return 0.0

    return sorted(targets, key=lambda target: (target.priority, rank(target)))


def _is_chosen(target: Target, provider: str | None) -> bool:
    return provider is None or provider in (target.provider.name, target.provider.kind)
