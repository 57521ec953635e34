"""Prices are added, never changed; the price list fills the book and leaves hands alone."""

from datetime import UTC, datetime, timedelta
from importlib.metadata import version

import pytest
from django.core.management import call_command
from genai_prices import Usage as ListUsage
from genai_prices import data
from genai_prices.types import ClauseEquals, ClauseOr

from billing import models, price_sync
from billing.price_book import load_price_book
from billing.price_data import DEMO_KIND, DEMO_MODELS, DEMO_PRICE
from billing.price_edits import BEGINNING, InvalidPriceError, set_price
from billing.price_list import KINDS, ListedPrice, listed_prices
from billing.price_sync import sync_prices
from billing.pricing import Price, cost
from billing.usage import Usage

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
CHEAP = Price(id=0, input=1_000_000_000, output=2_000_000_000)
DEAR = Price(id=0, input=3_000_000_000, output=4_000_000_000)


def test_a_first_price_holds_from_the_beginning():
    row = set_price(CHEAP, kind="openai", model="m", now=NOW)
    assert row is not None
    assert row.effective_from == BEGINNING


def test_the_same_figures_change_nothing():
    set_price(CHEAP, kind="openai", model="m", now=NOW)
    assert set_price(CHEAP, kind="openai", model="m", now=NOW) is None
    assert models.Price.objects.count() == 1


def test_other_figures_make_a_row_that_holds_from_now_on():
    set_price(CHEAP, kind="openai", model="m", now=NOW)
    set_price(DEAR, kind="openai", model="m", now=NOW)
    book = load_price_book()
    before = book.price_for("p", "openai", "m", NOW - timedelta(seconds=1))
    after = book.price_for("p", "openai", "m", NOW)
    assert before
    assert after
    assert (before.input, after.input) == (CHEAP.input, DEAR.input)


def test_a_price_cannot_be_changed_in_place():
    set_price(CHEAP, kind="openai", model="m", now=NOW, effective_from=NOW)
    with pytest.raises(InvalidPriceError, match="never changed"):
        set_price(DEAR, kind="openai", model="m", now=NOW, effective_from=NOW)


def test_going_back_to_an_old_figure_is_a_new_row():
    for day, price in enumerate((CHEAP, DEAR, CHEAP)):
        set_price(price, kind="openai", model="m", now=NOW + timedelta(days=day))
    assert models.Price.objects.count() == 3


@pytest.mark.parametrize(
    ("field", "price", "name"),
    [
        ("provider", CHEAP, {"provider": "p", "kind": "openai", "model": "m"}),
        ("provider", CHEAP, {"model": "m"}),
        ("model", CHEAP, {"kind": "openai", "model": ""}),
        ("input", Price(id=0, input=-1, output=0), {"kind": "openai", "model": "m"}),
        ("output", Price(id=0, input=0, output=10**16), {"kind": "openai", "model": "m"}),
        ("above_input", Price(0, 0, 0, above_input=1), {"kind": "openai", "model": "m"}),
    ],
)
def test_a_bad_price_is_refused_by_field(field, price, name):
    with pytest.raises(InvalidPriceError) as refused:
        set_price(price, now=NOW, **name)
    assert refused.value.field == field


def test_the_demo_models_have_a_price():
    set_price(DEMO_PRICE, kind=DEMO_KIND, model=DEMO_MODELS, now=NOW)
    price = load_price_book().price_for("demo", "demo", "demo-slow", NOW)
    assert price
    assert cost(Usage(input_tokens=10, cached_input_tokens=4, output_tokens=5), price) == 18_000


def test_R55_sync_applied_twice_changes_nothing():
    assert sync_prices(NOW).added
    assert sync_prices(NOW + timedelta(days=1)).added == ()


def test_a_dry_run_says_what_it_would_add_and_adds_nothing(capsys):
    call_command("sync_prices", dry_run=True)
    assert "+ openai/gpt-4o from 2000-01-01: input 2.50, output 10.00" in capsys.readouterr().out
    assert not models.Price.objects.exists()


def test_synced_prices_name_their_source_and_the_day():
    sync_prices(NOW)
    row = models.Price.objects.get(kind="openai", model="gpt-4o")
    assert row.source == f"genai-prices {version('genai-prices')}"
    assert row.checked_on == NOW.date()


def test_a_price_set_by_hand_is_kept():
    set_price(CHEAP, kind="openai", model="gpt-4o", now=NOW, source="our contract")
    report = sync_prices(NOW)
    assert ("openai", "gpt-4o") in report.kept
    assert models.Price.objects.filter(kind="openai", model="gpt-4o").count() == 1


def test_a_price_set_by_hand_after_a_sync_is_kept_by_the_next():
    sync_prices(NOW)
    set_price(CHEAP, kind="openai", model="gpt-4o", now=NOW, source="")
    assert sync_prices(NOW + timedelta(days=1)).added == ()


def test_a_listed_price_that_changed_holds_from_the_sync_on():
    set_price(CHEAP, kind="openai", model="gpt-4o", now=NOW, source="genai-prices 0.0.1")
    sync_prices(NOW)
    book = load_price_book()
    before = book.price_for("p", "openai", "gpt-4o", NOW - timedelta(seconds=1))
    after = book.price_for("p", "openai", "gpt-4o", NOW)
    assert before
    assert after
    assert (before.input, after.input) == (CHEAP.input, 2_500_000_000)


def test_a_dated_price_change_holds_from_its_day():
    sync_prices(NOW)
    starts = models.Price.objects.filter(kind="anthropic", model="claude-opus-4-6*")
    assert [f"{row.effective_from:%Y-%m-%d}" for row in starts.order_by("effective_from")] == [
        "2000-01-01",
        "2026-03-13",
    ]


def test_a_price_that_the_list_raises_for_a_while_comes_down_again(monkeypatch):
    month = timedelta(days=30)
    steps = [(BEGINNING, CHEAP), (NOW + month, DEAR), (NOW + 2 * month, CHEAP)]
    listed = [ListedPrice("openai", "m", *step) for step in steps]
    monkeypatch.setattr(price_sync, "listed_prices", lambda: listed[:1])
    sync_prices(NOW)
    monkeypatch.setattr(price_sync, "listed_prices", lambda: listed)
    assert len(sync_prices(NOW).added) == 2
    assert sync_prices(NOW).added == ()
    book = load_price_book()
    held = [book.price_for("p", "openai", "m", NOW + number * month) for number in range(3)]
    assert [price and price.input for price in held] == [CHEAP.input, DEAR.input, CHEAP.input]


def test_a_threshold_of_the_list_becomes_the_prices_above():
    sync_prices(NOW)
    price = load_price_book().price_for("p", "anthropic", "claude-sonnet-4-5-20250929", NOW)
    assert price
    assert (price.above_input_tokens, price.input, price.above_input, price.above_output) == (
        200_000, 3_000_000_000, 6_000_000_000, 22_500_000_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name", "usd"),
    [
        ("openai", "gpt-4o", 2_500_000_000),
        ("openai", "gpt-4o-2024-08-06", 2_500_000_000),
        ("openai", "gpt-4o-2024-05-13", 5_000_000_000),
        ("openai", "gpt-4o-2029-01-01", 2_500_000_000),
        ("openai", "gpt-4o-mini-2024-07-18", 150_000_000),
        ("anthropic", "claude-sonnet-4-20250514", 3_000_000_000),
        ("anthropic", "claude-3-5-haiku-20241022", 800_000_000),
        ("anthropic", "claude-haiku-4-5", 1_000_000_000),
        ("anthropic", "claude-opus-5-5-20270101", 4_000_000_000),
    ],
)
def test_dated_editions_are_priced(kind, name, usd):
    sync_prices(NOW)
    price = load_price_book().price_for("p", kind, name, NOW)
    assert price
    assert price.input == usd


def test_models_paid_for_sound_or_pictures_stay_unknown():
    models_listed = {listed.model for listed in listed_prices()}
    assert not models_listed & {"gpt-audio", "gpt-image-1", "whisper-1", "text-embedding-3-small"}


def test_every_exact_name_of_the_list_costs_what_the_list_says():
    sync_prices(NOW)
    book = load_price_book()
    usage = Usage(input_tokens=1_000_000, cached_input_tokens=400_000, output_tokens=1_000_000)
    compared = 0
    for provider in data.providers:
        for model in provider.models if provider.id in KINDS else ():
            clauses = model.match.or_ if isinstance(model.match, ClauseOr) else [model.match]
            for name in (c.equals for c in clauses if isinstance(c, ClauseEquals)):
                price = book.price_for("p", provider.id, name, NOW)
                found = provider.find_model(name)
                if price is None or found is None:
                    continue
                listed = found.get_prices(NOW)
                expected = listed.calc_price(_list_usage(usage))["total_price"]
                assert cost(usage, price) == expected * 10**9, name
                compared += 1
    assert compared > 150


def _list_usage(usage: Usage):
    return ListUsage(
        input_tokens=usage.input_tokens,
        cache_read_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
    )
