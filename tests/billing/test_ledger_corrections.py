import pytest
from django.db.models import Sum

from billing.books import check_books
from billing.corrections import UnpricedCall, backfill_prices
from billing.ledger import post
from billing.models import LedgerEntry, SpendTotal
from billing.pricing import Price
from tests.billing.ledger_samples import NOON, entry, make_counter, make_team, taken

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = Price(id=77, input=2_500_000_000, output=10_000_000_000)


def known(call: UnpricedCall) -> Price | None:
    return PRICE if call.upstream_model == "gpt-4o-2024" else None


def corrections() -> list[LedgerEntry]:
    return list(LedgerEntry.objects.filter(status="correction").order_by("entry"))


def test_a_price_set_later_is_charged_by_the_next_entry():
    post([entry(), entry(entry=1, cost_nano_usd=None)], worker_id=None)
    assert backfill_prices(known) == 1
    (correction,) = corrections()
    assert (correction.entry, correction.cost_nano_usd) == (2, 250_000 + 200_000)
    assert (correction.input_tokens, correction.price_version) == (0, "77")
    assert LedgerEntry.objects.get(entry=1).cost_nano_usd is None


def test_backfilling_again_changes_nothing():
    post([entry(cost_nano_usd=None), entry(entry=1, cost_nano_usd=None)], worker_id=None)
    assert backfill_prices(known) == 2
    assert backfill_prices(known) == 0
    assert [row.entry for row in corrections()] == [2, 3]


def test_what_is_still_unknown_is_left():
    unknown = entry("a", cost_nano_usd=None, upstream_model="other")
    post([unknown, entry("b", cost_nano_usd=None)], worker_id=None)
    assert backfill_prices(known) == 1
    assert backfill_prices(lambda call: PRICE) == 1


def test_the_price_is_asked_for_at_the_instant_of_the_call():
    post([entry(cost_nano_usd=None)], worker_id=None)
    asked: list[UnpricedCall] = []

    def price_of(call: UnpricedCall) -> None:
        asked.append(call)

    backfill_prices(price_of)
    assert asked == [UnpricedCall(3, "openai-main", "gpt-4o-2024", NOON)]


def test_totals_counters_and_books_follow():
    team = make_team()
    counter = make_counter(team, "usd")
    post([entry(team_id=team.id, cost_nano_usd=None, end_user="u1")], worker_id=None)
    backfill_prices(known)
    assert taken(counter) == 450_000
    sums = SpendTotal.objects.aggregate(Sum("requests"), Sum("unpriced_entries"))
    assert sums == {"requests__sum": 1, "unpriced_entries__sum": 0}
    assert check_books(None, None) == []


def test_many_entries_are_corrected():
    post([entry(f"r{n}", cost_nano_usd=None) for n in range(1_201)], worker_id=None)
    assert backfill_prices(known) == 1_201
