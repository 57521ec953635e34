"""The most that a call may take of any limit, before anybody is asked."""

from collections.abc import Iterable

from billing.estimate import Estimate
from billing.pricing import Price
from routing.catalogue import Target
from routing.wire.call import CallRequest
from routing.wire.input_bound import MINI_MODEL

# What a call without max_tokens is given where limits need a bound and the model names none.
DEFAULT_OUTPUT_TOKENS = 4096


def call_bound(
    call: CallRequest,
    targets: Iterable[Target],
    prices: Iterable[Price | None],
    model_max_output_tokens: int | None,
) -> Estimate:
    """An upper bound wherever the call goes.

    Args:
        targets: all that could serve it, fallbacks included.
        prices: of each of them; None while it is unknown.
    """
    each = call.output_token_bound or model_max_output_tokens or DEFAULT_OUTPUT_TOKENS
    input_tokens, _, mini_surplus = call.input_bound
    if mini_surplus and any(map(_counts_images_dearly, targets)):
        input_tokens += mini_surplus
    return Estimate(
        input_tokens=input_tokens,
        output_tokens=each * call.choices,
        prices=tuple(price for price in prices if price is not None),
        choices=call.choices,
        adjustable=call.max_output_tokens is None,
    )


def _counts_images_dearly(target: Target) -> bool:
    return MINI_MODEL in target.upstream_model or MINI_MODEL in target.price_model
