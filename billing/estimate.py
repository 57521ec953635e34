"""The most that a call can take, before anybody is asked."""

from dataclasses import dataclass

from billing.pricing import Price, upper_bound


@dataclass(frozen=True, slots=True)
class Estimate:
    """An upper bound of one call.

    Attributes:
        input_tokens: all input, cached and cache-write tokens included.
        output_tokens: over all choices together.
        prices: of every target and fallback that could serve; empty while none is known.
        adjustable: the caller sent no max_tokens: where limits cannot pay for all of
            `output_tokens` they may grant fewer, down to one for each choice.
    """

    input_tokens: int
    output_tokens: int
    prices: tuple[Price, ...] = ()
    choices: int = 1
    adjustable: bool = False

    def cost_nano_usd(self, output_tokens: int) -> int:
        """The most that the call can cost with this many output tokens."""
        return max(
            (upper_bound(self.input_tokens, output_tokens, price) for price in self.prices),
            default=0,
        )
