"""Which price applies: by name, by owner, by instant."""

from datetime import UTC, datetime, timedelta

import pytest

from billing import models
from billing.price_book import BookedPrice, PriceBook, load_price_book
from billing.pricing import Price

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def of_provider(id_, name, model, start=NEW_YEAR):
    return BookedPrice(name, "", model, start, Price(id_, input=1, output=1))


def of_kind(id_, kind, model, start=NEW_YEAR):
    return BookedPrice("", kind, model, start, Price(id_, input=1, output=1))


def price_id(prices, model, at=MARCH, provider="main", kind="openai"):
    price = PriceBook(prices).price_for(provider, kind, model, at)
    return price and price.id


def test_an_unknown_model_has_no_price_R52():
    assert price_id([of_provider(1, "main", "gpt-4o")], "gpt-5") is None


def test_a_provider_goes_before_its_kind():
    prices = [of_kind(1, "openai", "gpt-4o"), of_provider(2, "main", "gpt-4o")]
    assert price_id(prices, "gpt-4o") == 2
    assert price_id(prices, "gpt-4o", provider="other") == 1


def test_an_exact_name_goes_before_a_pattern_even_of_the_provider():
    prices = [of_provider(1, "main", "gpt-*"), of_kind(2, "openai", "gpt-4o")]
    assert price_id(prices, "gpt-4o") == 2


def test_a_pattern_of_the_provider_goes_before_a_longer_one_of_the_kind():
    prices = [of_kind(1, "openai", "gpt-4o-*"), of_provider(2, "main", "gpt-*")]
    assert price_id(prices, "gpt-4o-mini") == 2


@pytest.mark.parametrize("order", [1, -1])
def test_the_pattern_with_the_most_literal_characters_wins(order):
    prices = [
        of_kind(1, "openai", "*"),
        of_kind(2, "openai", "gpt-4*"),
        of_kind(3, "openai", "gpt*"),
    ]
    assert price_id(prices[::order], "gpt-4o") == 2


def test_only_the_star_is_special_in_a_pattern():
    prices = [of_kind(1, "openai", "gpt-[4]?.*")]
    assert price_id(prices, "gpt-4o.x") is None
    assert price_id(prices, "gpt-[4]?.x") == 1


def test_a_pattern_matches_the_whole_name():
    assert price_id([of_kind(1, "openai", "gpt-*-mini")], "gpt-4o-mini-x") is None


def test_the_latest_price_in_force_applies():
    prices = [of_kind(2, "openai", "gpt-4o", MARCH), of_kind(1, "openai", "gpt-4o", NEW_YEAR)]
    assert price_id(prices, "gpt-4o", at=MARCH - timedelta(microseconds=1)) == 1
    assert price_id(prices, "gpt-4o", at=MARCH) == 2


def test_a_remembered_answer_does_not_outlive_the_instant_of_the_next_price():
    book = PriceBook([of_kind(1, "openai", "gpt-4o"), of_provider(2, "main", "gpt-4o", MARCH)])
    before, after = MARCH - timedelta(microseconds=1), MARCH
    found = [book.price_for("main", "openai", "gpt-4o", at) for at in (before, after, before)]
    assert [price and price.id for price in found] == [1, 2, 1]


def test_a_price_that_is_not_yet_in_force_leaves_the_next_best():
    prices = [of_kind(1, "openai", "gpt-*"), of_kind(2, "openai", "gpt-4o", MARCH)]
    assert price_id(prices, "gpt-4o", at=NEW_YEAR) == 1


def test_before_any_price_there_is_none():
    assert (
        price_id([of_kind(1, "openai", "gpt-4o")], "gpt-4o", at=datetime(2025, 1, 1, tzinfo=UTC))
        is None
    )


def test_a_million_made_up_names_do_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("billing.price_book.LONGEST_MEMORY", 3)
    book = PriceBook([of_kind(1, "openai", "*")])
    for number in range(10):
        assert book.price_for("main", "openai", f"made-up-{number}", MARCH) is not None
    assert len(book._memory) <= 3


@pytest.mark.django_db
def test_the_book_is_read_from_the_price_rows():
    row = models.Price.objects.create(
        kind="openai", model="gpt-4o", effective_from=NEW_YEAR, input=5, output=7, above_output=9
    )
    price = load_price_book().price_for("main", "openai", "gpt-4o", MARCH)
    assert price == Price(row.pk, input=5, output=7, above_output=9)
