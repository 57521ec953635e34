"""A limit as a caller may read it, and the words in which one refuses a call."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from billing.allowances import CONCURRENT, REQUESTS, TOKENS, USD, Share
from billing.errors import BudgetExceededError, LimitExceededError
from billing.limit_rules import LimitRule
from billing.models import Per
from billing.pricing import short_usd
from keys.caller import Caller

# Running calls end any moment.
RETRY_SOON_SECONDS = 1.0
# Where no reset ever makes room, an administrator may; nobody can say when.
RETRY_LATER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class LimitState:
    """How much of a limit is left.

    Attributes:
        scope: `team`, `key` or `end_user`.
        window: empty for concurrent limits.
        ceiling, used, remaining: requests, tokens, calls or nano-USD; `used` includes what
            running calls hold, and may be above the ceiling.
        reset_at: None where the window never ends.
        soft: refuses nothing.
    """

    scope: str
    unit: str
    window: str
    ceiling: int
    used: int
    remaining: int
    reset_at: datetime | None
    soft: bool = False


def state_of(rule: LimitRule, *, ceiling: int, used: int, reset_at: datetime | None) -> LimitState:
    return LimitState(
        scope=rule.scope,
        unit=rule.unit,
        window=rule.window,
        ceiling=ceiling,
        used=used,
        remaining=max(0, ceiling - used),
        reset_at=reset_at,
        soft=rule.soft,
    )


@dataclass(frozen=True, slots=True)
class Shortage:
    """A share that cannot be made to hold what a call needs.

    Attributes:
        passing: only what running calls hold, or others idle on unheard, stands in the way.
    """

    share: Share
    need: int

    @property
    def passing(self) -> bool:
        share = self.share
        if share.unit == REQUESTS:
            # A request that runs counts whatever its end; one that idles elsewhere may come back.
            return share.held_by_others > 0 and share.heard < share.recalls
        # Without the excess: the ledger may have added it, and this worker not heard of that.
        return share.settled - share.excess + self.need <= share.ceiling

    @property
    def weight(self) -> tuple[bool, datetime]:
        """The shortage that lasts longest is the one worth telling."""
        return (not self.passing, self.share.end)


def refusal(
    shortages: list[Shortage], caller: Caller, now: datetime
) -> LimitExceededError | BudgetExceededError:
    worst = max(shortages, key=lambda shortage: shortage.weight)
    share = worst.share
    message = f"{_subject(share, caller)} {_reason(worst)}"
    retry_after = RETRY_SOON_SECONDS if worst.passing else _until_reset(share, now)
    if share.unit == USD:
        return BudgetExceededError(
            message, retriable=worst.passing, retry_after_seconds=retry_after
        )
    return LimitExceededError(message, retry_after_seconds=retry_after or RETRY_LATER_SECONDS)


def _subject(share: Share, caller: Caller) -> str:
    """`The budget of 100.00 USD per month of team research`."""
    rule = share.slot.rule
    kind = "budget" if rule.unit == USD else "limit"
    if rule.per == Per.END_USER:
        name = f"end user {share.slot.subject}" if share.slot.subject else "calls without a user"
        owner = f"{name} of {rule.owner}"
    elif rule.scope == Per.KEY:
        owner = f"key {caller.key_name}"
    else:
        owner = rule.owner
    return f"The {kind} of {_amount(rule.unit, share.ceiling)}{_PER[rule.window]} of {owner}"


def _reason(shortage: Shortage) -> str:
    share, rule = shortage.share, shortage.share.slot.rule
    reset = _reset(share)
    if rule.unit == CONCURRENT and share.ceiling:
        return "is reached. Try again when one of them has ended."
    if shortage.passing:
        return f"is held by running calls at the moment. Try again shortly. {reset}"
    left = max(0, share.ceiling - share.settled)
    if rule.unit == REQUESTS or not left:
        return f"is used up. {reset}"
    return (
        f"has {_amount(rule.unit, left)} left, and this call may take up to "
        f"{_amount(rule.unit, shortage.need)}. {reset}"
    )


def _reset(share: Share) -> str:
    if share.period_end is None:
        return "It does not reset."
    zone = ZoneInfo(share.slot.rule.timezone)
    return f"It resets at {share.period_end.astimezone(zone).isoformat()}."


def _until_reset(share: Share, now: datetime) -> float | None:
    if share.period_end is None:
        return None
    return max(RETRY_SOON_SECONDS, (share.period_end - now).total_seconds())


_PER = {
    "": "",
    "minute": " per minute",
    "hour": " per hour",
    "day": " per day",
    "week": " per week",
    "month": " per month",
    "total": " in total",
}


def _amount(unit: str, amount: int) -> str:
    if unit == USD:
        return f"{short_usd(amount)} USD"
    noun = {REQUESTS: "request", TOKENS: "token", CONCURRENT: "call"}[unit]
    plural = noun if amount == 1 else f"{noun}s"
    return f"{amount} {plural} at once" if unit == CONCURRENT else f"{amount} {plural}"
