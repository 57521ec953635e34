"""The door to limits and budgets: reserve before a call, settle after it.

`reserve` holds an upper bound against every limit of a caller, all of them or none; `settle`
puts the true figure in its place. Most calls are admitted from shares that this process already
holds, by arithmetic alone; otherwise the shares are filled from the counters in the database,
and a call is refused only after they have been asked, and after other workers have given back
what they idle on. When the database is away, calls go on within the shares at hand and are turned
away (503, never 429) beyond them.

All methods belong to one event loop and are called on its thread.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.db import Error

from billing.allowances import TOKENS, USD, Hold, Reservation, Share
from billing.allowances import settle as settle_holds
from billing.counters import CounterStore
from billing.entries import Charge
from billing.estimate import Estimate
from billing.headroom import Headroom, headroom_of
from billing.limit_plans import Plan, Plans, affordable_output
from billing.limit_rules import LimitRule, LimitsSnapshot, load_limits, snapshot_of
from billing.limit_states import LimitState, Shortage, refusal, state_of
from billing.recalls import LONGEST_WAIT_SECONDS, Listener, Recall
from billing.refills import Ask, Refills, counters_away
from billing.wallet import Wallet
from keys.caller import Caller
from keys.errors import ServiceUnavailableError

__all__ = [
    "Headroom",
    "Hold",
    "LimitState",
    "Limits",
    "LimitsSnapshot",
    "Reservation",
    "load_limits",
]

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Admitted:
    """A running call, as it was when it was admitted."""

    caller: Caller
    estimate: Estimate
    end_user: str
    at: datetime


class Limits:
    """What one worker process admits."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._wallet = Wallet()
        self._refills = Refills(store, self._wallet)
        self._listener = Listener(store, self._wallet, self._refills)
        self._plans = Plans(self._wallet)
        self._running: dict[Reservation, _Admitted] = {}
        self._uncounted = False
        self._posted = asyncio.Event()

    def replace(self, snapshot: LimitsSnapshot) -> None:
        """Go by other limits from now on; what idles under changed ones is given back.

        Await `count_running` after it.
        """
        self._plans.replace(snapshot)
        self._uncounted = True
        self._wallet.follow({i: rule for i, rule in snapshot.rules.items() if not rule.soft})

    def has_usd_limit(self, caller: Caller) -> bool:
        """Whether a budget can refuse the caller; a soft one cannot."""
        return self._plans.of(caller).has_usd

    def has_hard_token_or_usd_limit(self, caller: Caller) -> bool:
        plan = self._plans.of(caller)
        return plan.has_usd or plan.has_tokens

    def reserve_at_once(
        self, caller: Caller, estimate: Estimate, end_user: str, now: datetime
    ) -> Reservation | None:
        """Reserve from memory alone. None: only the database can tell, so await `reserve`."""
        needs = self._plans.of(caller).needs(estimate, estimate.output_tokens)
        tidyings = self._wallet.tidyings
        wanted = []
        for slot in self._plans.slots(caller, end_user):
            share = slot.share
            need = needs[share.unit]
            if share.idle < need or not share.start <= now < share.end or not share.counter_id:
                return None
            share.last_use = tidyings
            wanted.append((share, need))
        holds = tuple([share.reserve(need) for share, need in wanted])
        admitted = _Admitted(caller, estimate, end_user, now)
        return self._runs(admitted, holds, estimate.output_tokens)

    async def reserve(
        self, caller: Caller, estimate: Estimate, end_user: str, now: datetime
    ) -> Reservation:
        """Hold an estimate against every limit of a caller: all of them or none.

        Args:
            now: the moment of admission, UTC; it decides the periods, however long this takes.

        Raises:
            LimitExceededError, BudgetExceededError: name the limit and when it resets. HTTP 429.
            ServiceUnavailableError: the counters are away. HTTP 503.
        """
        asked: set[Share] = set()
        recall = Recall()
        admitted = _Admitted(caller, estimate, end_user, now)
        while True:
            plan = self._plans.of(caller)
            shares = [
                self._wallet.share_at(slot, now) for slot in self._plans.slots(caller, end_user)
            ]
            full = plan.needs(estimate, estimate.output_tokens)
            least = plan.needs(estimate, estimate.choices) if estimate.adjustable else full
            lacking = [s for s in shares if s.idle < full[s.unit] or not s.counter_id]
            if not lacking:
                return self._held(admitted, shares, full, estimate.output_tokens)
            unmet = [s for s in lacking if s in asked and s.within_reach < full[s.unit]]
            awaited = [s for s in unmet if s.might_have(least[s.unit]) and recall.may_help(s)]
            shortages = [
                Shortage(share, least[share.unit])
                for share in unmet
                if share.within_reach < least[share.unit] and share not in awaited
            ]
            if shortages:
                raise refusal(shortages, caller, now)
            if not awaited and all(
                s in asked and s.room <= 0 and s.idle >= least[s.unit] for s in lacking
            ):
                return self._held_in_part(admitted, plan, shares)
            called_back = [s for s in awaited if recall.is_new(s)]
            if awaited and not called_back:
                await recall.wait()
                if not all(map(self._wallet.keeps, lacking)):
                    asked.clear()
                    continue
            try:
                await self._refills.ask(
                    [Ask(s, least[s.unit], full[s.unit], s in called_back) for s in lacking]
                )
            except ServiceUnavailableError:
                if all(s.counter_id and s.idle >= least[s.unit] for s in shares):
                    return self._held_in_part(admitted, plan, shares)
                raise
            recall.raised(called_back)
            self._listener.listen()
            # What an edit has overtaken meanwhile says nothing: it is asked again.
            asked = {share for share in lacking if not share.unsure}
            self._forget_gone_limits()

    async def count_running(self) -> None:
        """Have limits that are new hold what running calls may take; call it after `replace`.

        All of it, also where that is more than the limit allows: then nothing is admitted before
        enough of them have ended. Never fails: what could not be held now is tried again with
        the next tidying.
        """
        self._uncounted = False
        try:
            # What is charged to a counter must be charged to one that is known.
            await self._ask_for_no_more(share for _, share, _ in self._not_held())
            for reservation, share, need in list(self._not_held()):
                if share.counter_id:
                    reservation.holds += (share.reserve(need),)
            await self._ask_for_no_more(self._wallet.overdrawn())
            self._listener.listen()
        except ServiceUnavailableError:
            self._uncounted = True

    async def _ask_for_no_more(self, shares: Iterable[Share]) -> None:
        """Read them, and take what they are overdrawn by; what is to come takes care of itself."""
        asks = [Ask(share, 0, 0, ahead=False) for share in shares]
        if asks:
            await self._refills.ask(asks)

    def _not_held(self) -> Iterator[tuple[Reservation, Share, int]]:
        """Running calls with a limit that was made after them, and what they need of it."""
        for reservation, call in self._running.items():
            plan = self._plans.of(call.caller)
            held = {hold.share.slot.rule.id for hold in reservation.holds}
            needs = plan.needs(call.estimate, reservation.output_tokens)
            for slot in self._plans.slots(call.caller, call.end_user):
                if slot.rule.id not in held and (need := needs[slot.rule.unit]):
                    yield reservation, self._wallet.share_at(slot, call.at), need

    async def hold_more(self, reservation: Reservation, *, tokens: int, cost_nano_usd: int) -> bool:
        """Hold more of the same limits for a running call: of all of them or none.

        Returns:
            False where there is no room, or none to be known of while the database is away.
        """
        needs = {TOKENS: tokens, USD: cost_nano_usd}
        more = [(hold, needs.get(hold.unit, 0)) for hold in reservation.holds]
        lacking = [Ask(hold.share, need, need) for hold, need in more if hold.share.idle < need]
        if lacking:
            try:
                await self._refills.ask(lacking)
            except ServiceUnavailableError:
                return False
            if any(hold.share.idle < need for hold, need in more):
                return False
        # A limit that was made meanwhile has added a hold, which stays.
        reservation.holds = (
            tuple(
                replace(hold, amount=hold.amount + hold.share.reserve(need).amount)
                for hold, need in more
            )
            + reservation.holds[len(more) :]
        )
        return True

    def settle(
        self, reservation: Reservation, *, tokens: int, cost_nano_usd: int | None
    ) -> tuple[Charge, ...]:
        """Charge what a call really used, and free the rest of what it held.

        Args:
            tokens: reported, input and output together.
            cost_nano_usd: None while the price is unknown: charged when it becomes known.
        """
        self._running.pop(reservation, None)
        return settle_holds(reservation.holds, tokens=tokens, cost_nano_usd=cost_nano_usd or 0)

    def void(self, reservation: Reservation) -> None:
        """Free everything: the call was not admitted after all, and counts nowhere."""
        self._running.pop(reservation, None)
        for hold in reservation.holds:
            hold.share.release(hold.amount)

    def posted(self, charges: Iterable[Charge]) -> None:
        """Charges of this worker have moved from its holdings into the ledger."""
        for charge in charges:
            share = self._wallet.of_counter(charge.counter_id)
            if share is not None:
                share.post(charge)
        self._posted.set()

    async def state(
        self, caller: Caller, now: datetime, end_user: str = ""
    ) -> tuple[LimitState, ...]:
        """Every limit of a caller, exact: other workers have given back what they idle on.

        A soft limit knows only what is in the ledger.

        Raises:
            ServiceUnavailableError: the database is away. HTTP 503.
        """
        plan = self._plans.of(caller)
        slots = self._plans.slots(caller, end_user)
        shares = [self._wallet.share_at(slot, now) for slot in slots]
        await self._read_exactly(shares)
        soft = [await self._soft_state(rule, caller, now, end_user) for rule in plan.soft]
        return (*map(_state, shares), *soft)

    async def until_counted(self, charges: Iterable[Charge]) -> None:
        """Wait until no worker sees room that calls of this one took beyond what they held.

        A second at most, and not while the database is away: then others spend what they hold.
        """
        shares = [
            share
            for charge in charges
            if charge.excess and (share := self._wallet.of_counter(charge.counter_id))
        ]
        with suppress(TimeoutError, ServiceUnavailableError):
            async with asyncio.timeout(LONGEST_WAIT_SECONDS):
                while any(share.excess > share.excess_posted for share in shares):
                    self._posted.clear()
                    await self._posted.wait()
                await self._ask_for_no_more(shares)
                # What others idle on may be above the ceiling by now.
                await self._read_exactly([share for share in shares if share.room < 0])

    async def _read_exactly(self, shares: Sequence[Share]) -> None:
        """Read counters once all others have given back what they idle on."""
        recall = Recall()
        await self._refills.ask([Ask(share, 0, 0, exact=True, ahead=False) for share in shares])
        recall.raised(shares)
        while awaited := [share for share in shares if recall.may_help(share)]:
            await recall.wait()
            await self._ask_for_no_more(awaited)

    def tightest(self, caller: Caller, now: datetime, end_user: str = "") -> Headroom:
        """What is left at least, from memory alone.

        Args:
            now: when the call began; a period that has begun since counts in the place of its own.
        """
        slots = self._plans.slots(caller, end_user)
        shares = [slot.share for slot in slots if now < slot.share.end]
        return headroom_of(shares, alone=self._refills.alone)

    async def tidy(self, now: datetime) -> None:
        """Give back what idles and fill what runs low; call it every second. Never fails."""
        self._wallet.tidy(now)
        if self._wallet.forget_unused():
            self._plans.forget()
        if self._uncounted:
            await self.count_running()
        low = [Ask(share, 0, 0) for share in self._wallet.running_low(now)]
        await self._give_back(low)
        if self._wallet.holds_something:
            self._listener.listen()

    async def close(self) -> None:
        """Give back everything that no call holds, after the last one has been posted."""
        self._listener.stop()
        # Twice: the first may find out that a take in doubt was committed.
        for _ in range(2):
            self._wallet.give_up_everything()
            await self._give_back([])
        try:
            await self._store.close()
        except Error as error:
            log.warning("holdings_left_behind", error=repr(error))

    async def _give_back(self, asks: Sequence[Ask]) -> None:
        if asks or self._wallet.leaving() or self._refills.in_doubt:
            try:
                await self._refills.ask(asks)
            except ServiceUnavailableError:
                # Taken back into the shares: nothing is returned while the database is away.
                return

    async def _soft_state(
        self, rule: LimitRule, caller: Caller, now: datetime, end_user: str
    ) -> LimitState:
        subject, period = rule.subject(caller.key_id, end_user), rule.period(now)
        try:
            used = await self._store.used_in_ledger(rule, subject, period)
        except Error as error:
            raise counters_away() from error
        return state_of(rule, ceiling=rule.ceiling, used=used, reset_at=period.end)

    def _held(
        self,
        admitted: _Admitted,
        shares: Sequence[Share],
        needs: dict[str, int],
        output_tokens: int,
    ) -> Reservation:
        for share in shares:
            share.last_use = self._wallet.tidyings
        holds = tuple(share.reserve(needs[share.unit]) for share in shares)
        return self._runs(admitted, holds, output_tokens)

    def _runs(
        self, admitted: _Admitted, holds: tuple[Hold, ...], output_tokens: int
    ) -> Reservation:
        reservation = Reservation(holds, output_tokens)
        self._running[reservation] = admitted
        return reservation

    def _held_in_part(
        self, admitted: _Admitted, plan: Plan, shares: Sequence[Share]
    ) -> Reservation:
        """Hold what is there: less output than the call would like."""
        output_tokens = affordable_output(shares, admitted.estimate)
        needs = plan.needs(admitted.estimate, output_tokens)
        return self._held(admitted, shares, needs, output_tokens)

    def _forget_gone_limits(self) -> None:
        """A limit that was deleted a moment ago binds nobody, though the snapshot still has it."""
        if self._refills.gone:
            rules = self._plans.snapshot.rules
            self.replace(snapshot_of(r for i, r in rules.items() if i not in self._refills.gone))
            self._refills.gone.clear()


def _state(share: Share) -> LimitState:
    return state_of(
        share.slot.rule, ceiling=share.ceiling, used=share.used, reset_at=share.period_end
    )
