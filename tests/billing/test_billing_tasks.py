"""The sweeps that the schedule runs."""

from datetime import timedelta

import pytest
from django.utils import timezone
from structlog.testing import capture_logs

from billing.models import Counter, LedgerEntry, Limit, Price, SpendTotal
from billing.price_edits import set_price
from billing.pricing import Price as Figures
from billing.spend import unpriced_entries
from billing.tasks import check_books, sweep_counters, sync_prices
from gateway_project.celery import app
from keys.models import Team
from routing.models import Provider
from routing.tasks import price_unpriced_calls
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db(transaction=True)

PRICE = Figures(id=0, input=1_000_000_000, output=2_000_000_000)


def unpriced(**changes):
    return call(cost_nano_usd=None, price_version="", **changes)


def test_prices_are_synced_once():
    sync_prices()
    count = Price.objects.count()
    sync_prices()
    assert count == Price.objects.count() > 100


def test_the_nightly_check_says_whether_the_books_agree():
    fill(call())
    with capture_logs() as logged:
        check_books()
        SpendTotal.objects.update(cost_nano_usd=1)
        check_books()
    assert [line["event"] for line in logged] == ["books_agree", "books_differ"]
    assert "found 1" in logged[1]["first"][0]


def test_a_price_that_is_set_later_prices_the_calls_before_it():
    provider = Provider.objects.create(name="main", kind="openai")
    fill(unpriced(request_id="r", provider_id=provider.pk, provider="main", upstream_model="m"))
    assert unpriced_entries() == 1
    price_unpriced_calls()
    assert unpriced_entries() == 1

    set_price(PRICE, kind="openai", model="m", now=NOON)
    for _ in range(2):
        price_unpriced_calls()
    first, correction = LedgerEntry.objects.filter(request_id="r").order_by("entry")
    assert first.cost_nano_usd is None
    assert correction.status == "correction"
    assert correction.cost_nano_usd == 100 * 1_000 + 50 * 2_000
    assert unpriced_entries() == 0


def test_without_unpriced_calls_nothing_is_searched(django_assert_num_queries):
    fill(call())
    with django_assert_num_queries(1):
        price_unpriced_calls()


def test_every_scheduled_task_exists():
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)


def test_the_sweep_of_counters_deletes_finished_minutes():
    team = Team.objects.create(name="swept")
    limit = Limit.objects.create(team=team, unit="requests", window="minute", ceiling=1)
    past = timezone.now() - timedelta(days=30)
    Counter.objects.create(
        limit=limit, period_start=past, period_end=past + timedelta(minutes=1), ceiling=1
    )
    sweep_counters()
    assert not Counter.objects.exists()
