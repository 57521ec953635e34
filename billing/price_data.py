"""Prices that come with the product: those of the built-in demo models."""

from billing.pricing import NANO_PER_USD, Price

DEMO_KIND = "demo"
DEMO_MODELS = "demo*"
DEMO_PRICE_SOURCE = "built in"
# Made-up figures, round enough to check by eye. The id is given when the price is stored.
DEMO_PRICE = Price(
    id=0,
    input=1 * NANO_PER_USD,
    cached_input=NANO_PER_USD // 2,
    output=2 * NANO_PER_USD,
)
