"""Routing's sweeps: each looks at rows, so it may be lost, repeated, or run twice at once."""

import structlog
from celery import shared_task

from billing.corrections import UnpricedCall, backfill_prices
from billing.price_book import load_price_book
from billing.pricing import Price
from billing.spend import unpriced_entries
from routing.catalogue import SAME_NAME
from routing.models import Provider, Target

log = structlog.get_logger(__name__)


@shared_task(name="routing.price_unpriced_calls")  # type: ignore[untyped-decorator]  # celery ships no types
def price_unpriced_calls() -> None:
    """Corrections for calls whose price was unknown when they were made and is known by now."""
    # The totals know in one small query what the ledger would have to be searched for.
    if not unpriced_entries():
        return
    book = load_price_book()
    kinds = dict(Provider.objects.values_list("pk", "kind"))
    names = _price_names()

    def price_of(call: UnpricedCall) -> Price | None:
        provider_id = call.provider_id or 0
        everything = names.get((provider_id, SAME_NAME), call.upstream_model)
        model = names.get((provider_id, call.upstream_model), everything)
        kind = kinds.get(provider_id, "")
        return book.price_for(call.provider, kind, model, call.started_at)

    log.info("unpriced_calls_priced", corrections=backfill_prices(price_of))


def _price_names() -> dict[tuple[int, str], str]:
    """The names whose prices apply, by provider and upstream model, where they are others."""
    named = Target.objects.exclude(price_as__in=["", SAME_NAME]).order_by("pk")
    return {(target.provider_id, target.upstream_model): target.price_as for target in named}
