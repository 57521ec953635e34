"""What is left of a caller's limits at least, as one worker's memory knows it."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.allowances import REQUESTS, TOKENS, Share
from billing.limit_states import LimitState, state_of


@dataclass(frozen=True, slots=True)
class Headroom:
    """The tightest request limit and the tightest token limit of a caller, where there are any."""

    requests: LimitState | None
    tokens: LimitState | None


def headroom_of(shares: Sequence[Share], *, alone: bool) -> Headroom:
    """Args:
    alone: no other worker takes of these limits. Else only what this one holds surely remains.
    """
    return Headroom(_tightest(shares, REQUESTS, alone), _tightest(shares, TOKENS, alone))


def _tightest(shares: Sequence[Share], unit: str, alone: bool) -> LimitState | None:
    least, tightest = 0, None
    for share in shares:
        if share.unit == unit and share.counter_id:
            # Others may have taken all of the rest since.
            left = share.ceiling - share.used if alone else share.idle
            if tightest is None or left < least:
                least, tightest = left, share
    if tightest is None:
        return None
    return state_of(
        tightest.slot.rule,
        ceiling=tightest.ceiling,
        used=tightest.ceiling - least,
        reset_at=tightest.period_end,
    )
