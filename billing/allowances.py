"""What one worker holds of the counters, in its memory. Plain arithmetic on the event loop.

A `Slot` is a limit as one subject meets it; its `Share` is the worker's part of that limit's
counter in one period. Whatever moves, a share keeps

    idle + reserved + unposted + leaving = the worker's holding in the database

except while a take or a return is under way, when memory always believes the smaller figure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from billing.entries import Charge
from billing.limit_rules import LimitRule
from billing.models import Per, Unit
from billing.periods import EPOCH

_NEVER = datetime.max.replace(tzinfo=UTC)
# Tidyings for which a share takes nothing ahead after units of its counter were called back.
TIGHT_TIDYINGS = 3
# Tidyings (seconds): one call in the first moment says little about a minute.
_SHORTEST_OBSERVED = 3
_LONG_AGO = -1_000_000
REQUESTS = Unit.REQUESTS.value
TOKENS = Unit.TOKENS.value
USD = Unit.USD.value
CONCURRENT = Unit.CONCURRENT.value


class Slot:
    """A limit as one subject meets it, period after period.

    Attributes:
        used, used_before: units settled lately and in the stretch before; see `age`.
        peak, peak_before: the most that running calls held at once, in the same stretches.
        since: number of the tidying from which on `used_before` and `used` count.
    """

    __slots__ = ("peak", "peak_before", "rule", "share", "since", "subject", "used", "used_before")

    def __init__(self, rule: LimitRule, subject: str, tidyings: int = 0) -> None:
        self.rule = rule
        self.subject = subject
        self.used = self.used_before = self.peak = self.peak_before = 0
        self.since = tidyings
        # Right for what never ends; any other window begins with the first call.
        self.share = Share(self, EPOCH)

    def use_within(self, seconds: int, tidyings: int) -> int:
        """What a stretch of that length uses, going by the last half to whole minute."""
        observed = max(_SHORTEST_OBSERVED, tidyings - self.since)
        return (self.used + self.used_before) * seconds // observed

    @property
    def most_at_once(self) -> int:
        return max(self.peak, self.peak_before)

    def age(self, tidyings: int, stretch: int) -> None:
        """Forget the stretch before last."""
        self.since = tidyings if not self.used else max(self.since, tidyings - stretch)
        self.used, self.used_before = 0, self.used
        self.peak, self.peak_before = self.share.reserved, self.peak


class Share:
    """A worker's part of one counter.

    Attributes:
        counter_id: 0 until the database has been asked.
        idle: free for the next call. Below zero the share is overdrawn: calls that were running
            when the limit was made hold more of it than has been taken yet.
        reserved: held by running calls.
        unposted: spent, and not yet in the ledger.
        leaving: given up here, and not yet given back in the database.
        excess: spent beyond what was held, and not yet in `taken` as last read.
        excess_posted: the part of `excess` that the ledger has added since.
        taken, ceiling, held_by_others: of the counter, as last read.
        running_elsewhere: the part of `held_by_others` that running calls may hold.
        recalls, heard: how often idle units were called back, and up to which of these recalls
            all other holders have answered, as last read.
        tight_at: number of the tidying in which units were last called back.
        edits, edits_read: how often the limit was edited, in all and before the counter was read.
        last_use: number of the tidying that came before the last reservation.
        awaited: exchanges that will still bring news of this share.
    """

    __slots__ = (
        "awaited",
        "ceiling",
        "counter_id",
        "edits",
        "edits_read",
        "end",
        "excess",
        "excess_posted",
        "heard",
        "held_by_others",
        "idle",
        "last_use",
        "leaving",
        "recalls",
        "reserved",
        "running_elsewhere",
        "slot",
        "start",
        "taken",
        "tight_at",
        "unit",
        "unposted",
    )

    def __init__(self, slot: Slot, at: datetime) -> None:
        period = slot.rule.period(at)
        self.slot = slot
        self.unit = slot.rule.unit
        self.start = period.start
        self.end = period.end or _NEVER
        self.ceiling = slot.rule.ceiling
        self.counter_id = self.idle = self.reserved = self.unposted = self.leaving = 0
        self.excess = self.excess_posted = self.taken = 0
        self.held_by_others = self.running_elsewhere = 0
        self.last_use = self.awaited = self.edits = self.edits_read = 0
        self.recalls = self.heard = 0
        self.tight_at = _LONG_AGO

    @property
    def room(self) -> int:
        """What was left below the ceiling when the counter was last read; may be negative."""
        return self.ceiling - self.taken + self.leaving - self.excess

    @property
    def within_reach(self) -> int:
        """What the next call may be given, if nobody else takes it first."""
        return self.idle + max(0, self.room)

    @property
    def overdraft(self) -> int:
        return max(0, -self.idle)

    def might_have(self, amount: int) -> bool:
        """Whether it would fit if nothing ran or idled elsewhere."""
        return self.settled + self.reserved + amount <= self.ceiling

    @property
    def unsure(self) -> bool:
        """An edit is newer than what was read: until it is read again nothing may idle here."""
        return self.edits != self.edits_read

    @property
    def settled(self) -> int:
        """Spent for good, as far as is known; what running calls hold may still come back."""
        held = self.idle + self.reserved + self.leaving
        return self.taken - self.running_elsewhere - held + self.excess

    @property
    def used(self) -> int:
        """Spent, and held by running calls; what idles here is not used."""
        return self.taken - self.idle - self.leaving + self.excess

    @property
    def period_end(self) -> datetime | None:
        return None if self.end is _NEVER else self.end

    def ahead(self, seconds: int, tidyings: int, asked: int = 0) -> int:
        """What it should hold beyond what it does, for the calls of the seconds to come.

        While others call units back it should hold nothing beyond the calls at hand.

        Args:
            asked: what calls at hand ask for: of a key or team that begins they tell its use.
        """
        if self.unit == CONCURRENT or tidyings - self.tight_at < TIGHT_TIDYINGS:
            return 0
        slot = self.slot
        wanted = slot.use_within(seconds, tidyings) + slot.most_at_once
        # Most end users call once in a while.
        if not wanted and slot.rule.per != Per.END_USER:
            wanted = asked * seconds // _SHORTEST_OBSERVED
        return max(0, wanted - self.idle - self.reserved)

    @property
    def is_empty(self) -> bool:
        return not (self.idle or self.reserved or self.unposted or self.leaving or self.awaited)

    def reserve(self, amount: int) -> "Hold":
        self.idle -= amount
        self.reserved += amount
        if self.reserved > self.slot.peak:
            self.slot.peak = self.reserved
        return Hold(self, self.unit, amount, self.counter_id)

    def release(self, amount: int) -> None:
        self.reserved -= amount
        self.idle += amount
        self.give_up_surplus()

    def spend(self, held: int, amount: int) -> Charge:
        """Turn a hold into what was really used; idle units cover what the hold does not."""
        self.reserved -= held
        covered = min(amount, held + self.idle)
        self.idle += held - covered
        self.unposted += covered
        self.excess += amount - covered
        self.slot.used += amount
        self.give_up_surplus()
        return Charge(self.counter_id, amount, amount - covered)

    def post(self, charge: Charge) -> None:
        self.unposted -= charge.amount - charge.excess
        self.excess_posted += charge.excess

    def give_up(self, most: int) -> None:
        """Believe first that idle units are gone: the database is told later."""
        amount = min(max(0, self.idle), most)
        self.idle -= amount
        self.leaving += amount

    def give_up_surplus(self) -> None:
        """What idles above the ceiling (it was lowered, or there is excess) is not to be spent."""
        if self.edits != self.edits_read:
            self.give_up(self.idle)
            return
        # `room` below zero, without the cost of asking: every call comes by here.
        surplus = self.taken + self.excess - self.leaving - self.ceiling
        if surplus > 0:
            self.give_up(surplus)

    def give_up_idle(self) -> None:
        self.give_up(self.idle)


@dataclass(frozen=True, slots=True)
class Hold:
    """What one call reserved of one share, in the unit of its limit."""

    share: Share
    unit: str
    amount: int
    counter_id: int


@dataclass(slots=True, eq=False)
class Reservation:
    """What a call may take of all its limits. Settle or void it exactly once.

    Attributes:
        holds: of a limit each. It grows by those of limits that are made while the call runs.
        output_tokens: the granted bound, over all choices together.
    """

    holds: tuple[Hold, ...]
    output_tokens: int


def settle(holds: Iterable[Hold], *, tokens: int, cost_nano_usd: int) -> tuple[Charge, ...]:
    """Put what was used in the place of what was held."""
    charges = []
    for hold in holds:
        if hold.unit == CONCURRENT:
            hold.share.release(hold.amount)
            continue
        if hold.unit == TOKENS:
            amount = tokens
        elif hold.unit == USD:
            amount = cost_nano_usd
        else:
            amount = 1
        charge = hold.share.spend(hold.amount, amount)
        if amount:
            charges.append(charge)
    return tuple(charges)
