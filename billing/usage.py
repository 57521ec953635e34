"""What a call consumed, in the one vocabulary that prices, limits and the ledger share."""

from dataclasses import dataclass

# A figure beyond this is a provider's mistake, not a bill: it is cut to it and flagged.
LARGEST_TOKEN_COUNT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one upstream attempt, whatever the provider's habit of counting.

    Attributes:
        input_tokens: all input, cached and cache-write tokens included.
        cached_input_tokens: read from the provider's cache; part of input_tokens.
        cache_write_tokens: all written to the cache (5 minutes and 1 hour); part of input_tokens.
        cache_write_1h_tokens: of cache_write_tokens, those kept for an hour.
        output_tokens: all output, reasoning included.
        reasoning_tokens: part of output_tokens.
        suspect: a figure was impossible (negative, huge, text) and has been clamped.
    """

    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    suspect: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens
