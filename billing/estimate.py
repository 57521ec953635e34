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

    def affordable_output(self, *, tokens: int | None, nano_usd: int | None) -> int:
        """The most output tokens, the same for each choice, that these amounts can pay for.

        Args:
            tokens, nano_usd: what there is; None where no limit asks.
        """
        most = self.output_tokens
        if tokens is not None:
            most = min(most, tokens - self.input_tokens)
        if nano_usd is not None and self.cost_nano_usd(most) > nano_usd:
            most = self._paid_for(nano_usd, most)
        return most - most % self.choices

    def _paid_for(self, nano_usd: int, too_many: int) -> int:
        enough = 0
        while too_many - enough > 1:
            middle = (enough + too_many) // 2
            if self.cost_nano_usd(middle) <= nano_usd:
                enough = middle
            else:
                too_many = middle
        return enough
