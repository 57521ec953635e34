"""The door to limits and budgets: reserve before a call, settle after it.

`reserve` holds an upper bound against every limit of a caller, all of them or none; `settle`
puts the true figure in its place. Most calls are admitted from shares that this process already
holds, by arithmetic alone; otherwise the shares are filled from the counters in the database,
and a call is refused only after they have been asked, and after other workers have given back
what they idle on. When the database is away, calls go on within the shares at hand and are turned
away (503, never 429) beyond them.

All methods belong to one event loop and are called on its thread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog
from django.db import Error

from billing.allowances import CONCURRENT, REQUESTS, TOKENS, USD, Hold, Reservation, Share, Slot
from billing.allowances import settle as settle_holds
from billing.counters import CounterStore
from billing.entries import Charge
from billing.estimate import Estimate
from billing.limit_rules import LimitRule, LimitsSnapshot, load_limits, snapshot_of
from billing.limit_states import LimitState, Shortage, refusal, state_of
from billing.models import Per
from billing.recalls import Listener, Recall
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
class Headroom:
    """The tightest request limit and the tightest token limit of a caller, where there are any."""

    requests: LimitState | None
    tokens: LimitState | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """The limits that bind a key. `slots` are those whose subject every call of it shares."""

    slots: tuple[Slot, ...]
    per_end_user: tuple[LimitRule, ...]
    soft: tuple[LimitRule, ...]
    has_usd: bool
    has_tokens: bool


class Limits:
    """What one worker process admits."""

    def __init__(self, store: CounterStore) -> None:
        self._store = store
        self._wallet = Wallet()
        self._refills = Refills(store, self._wallet)
        self._listener = Listener(store, self._wallet, self._refills)
        self._snapshot = LimitsSnapshot()
        self._plans: dict[int, _Plan] = {}

    def replace(self, snapshot: LimitsSnapshot) -> None:
        """Go by other limits from now on; what idles under changed ones is given back."""
        self._snapshot = snapshot
        self._plans.clear()
        self._wallet.follow({i: rule for i, rule in snapshot.rules.items() if not rule.soft})

    def has_usd_limit(self, caller: Caller) -> bool:
        """Whether a budget can refuse the caller; a soft one cannot."""
        return self._plan_of(caller).has_usd

    def has_hard_token_or_usd_limit(self, caller: Caller) -> bool:
        plan = self._plan_of(caller)
        return plan.has_usd or plan.has_tokens

    def reserve_at_once(
        self, caller: Caller, estimate: Estimate, end_user: str, now: datetime
    ) -> Reservation | None:
        """Reserve from memory alone. None: only the database can tell, so await `reserve`."""
        plan = self._plans.get(caller.key_id) or self._plan_of(caller)
        needs = _needs(plan, estimate, estimate.output_tokens)
        tidyings = self._wallet.tidyings
        wanted = []
        for slot in self._slots(plan, caller, end_user):
            share = slot.share
            need = needs[share.unit]
            if share.idle < need or not share.start <= now < share.end or not share.counter_id:
                return None
            share.last_use = tidyings
            wanted.append((share, need))
        holds = tuple([share.reserve(need) for share, need in wanted])
        return Reservation(holds, estimate.output_tokens)

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
        while True:
            plan = self._plan_of(caller)
            shares = [
                self._wallet.share_at(slot, now) for slot in self._slots(plan, caller, end_user)
            ]
            full = _needs(plan, estimate, estimate.output_tokens)
            least = _needs(plan, estimate, estimate.choices) if estimate.adjustable else full
            lacking = [s for s in shares if s.idle < full[s.unit] or not s.counter_id]
            if not lacking:
                return self._held(shares, full, estimate.output_tokens)
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
                return self._held_in_part(plan, shares, estimate)
            called_back = [s for s in awaited if recall.is_new(s)]
            if awaited and not called_back:
                await recall.wait()
            try:
                await self._refills.ask(
                    [Ask(s, least[s.unit], full[s.unit], s in called_back) for s in lacking]
                )
            except ServiceUnavailableError:
                if all(s.counter_id and s.idle >= least[s.unit] for s in shares):
                    return self._held_in_part(plan, shares, estimate)
                raise
            recall.raised(called_back)
            self._listener.listen()
            # What an edit has overtaken meanwhile says nothing: it is asked again.
            asked = {share for share in lacking if not share.unsure}
            self._forget_gone_limits()

    async def hold_more(
        self, reservation: Reservation, *, tokens: int, cost_nano_usd: int
    ) -> Reservation | None:
        """Hold more of the same limits for a running call: of all of them or none.

        Returns:
            The reservation in the place of the old one; None where there is no room, or none
            to be known of while the database is away, and the old one stays.
        """
        needs = {TOKENS: tokens, USD: cost_nano_usd}
        more = [(hold, needs.get(hold.unit, 0)) for hold in reservation.holds]
        lacking = [Ask(hold.share, need, need) for hold, need in more if hold.share.idle < need]
        if lacking:
            try:
                await self._refills.ask(lacking)
            except ServiceUnavailableError:
                return None
            if any(hold.share.idle < need for hold, need in more):
                return None
        holds = tuple(
            replace(hold, amount=hold.amount + hold.share.reserve(need).amount)
            for hold, need in more
        )
        return replace(reservation, holds=holds)

    def settle(
        self, reservation: Reservation, *, tokens: int, cost_nano_usd: int | None
    ) -> tuple[Charge, ...]:
        """Charge what a call really used, and free the rest of what it held.

        Args:
            tokens: reported, input and output together.
            cost_nano_usd: None while the price is unknown: charged when it becomes known.
        """
        return settle_holds(reservation.holds, tokens=tokens, cost_nano_usd=cost_nano_usd or 0)

    def void(self, reservation: Reservation) -> None:
        """Free everything: the call was not admitted after all, and counts nowhere."""
        for hold in reservation.holds:
            hold.share.release(hold.amount)

    def posted(self, charges: Iterable[Charge]) -> None:
        """Charges of this worker have moved from its holdings into the ledger."""
        for charge in charges:
            share = self._wallet.of_counter(charge.counter_id)
            if share is not None:
                share.post(charge)

    async def state(
        self, caller: Caller, now: datetime, end_user: str = ""
    ) -> tuple[LimitState, ...]:
        """Every limit of a caller, exact: other workers have given back what they idle on.

        A soft limit knows only what is in the ledger.

        Raises:
            ServiceUnavailableError: the database is away. HTTP 503.
        """
        plan = self._plan_of(caller)
        slots = self._slots(plan, caller, end_user)
        shares = [self._wallet.share_at(slot, now) for slot in slots]
        await self._refills.ask([Ask(share, 0, 0) for share in shares])
        recall = Recall()
        while awaited := [share for share in shares if recall.may_help(share)]:
            called_back = [share for share in awaited if recall.is_new(share)]
            if not called_back:
                await recall.wait()
            await self._refills.ask([Ask(share, 0, 0, share in called_back) for share in awaited])
            recall.raised(called_back)
        soft = [await self._soft_state(rule, caller, now, end_user) for rule in plan.soft]
        return (*map(_state, shares), *soft)

    def tightest(self, caller: Caller, now: datetime) -> Headroom:
        """What is left at least, from memory alone; limits per end user are left out.

        Among other workers only what this one holds surely remains.
        """
        plan = self._plan_of(caller)
        shares = [s.share for s in plan.slots if s.share.start <= now < s.share.end]
        alone = self._refills.alone
        return Headroom(_tightest(shares, REQUESTS, alone), _tightest(shares, TOKENS, alone))

    async def tidy(self, now: datetime) -> None:
        """Give back what idles and fill what runs low; call it every second. Never fails."""
        self._wallet.tidy(now)
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

    def _plan_of(self, caller: Caller) -> _Plan:
        plan = self._plans.get(caller.key_id)
        if plan is None:
            plan = self._plans[caller.key_id] = self._make_plan(caller)
        return plan

    def _make_plan(self, caller: Caller) -> _Plan:
        rules = self._snapshot.of(caller.team_id, caller.key_id)
        hard = [rule for rule in rules if not rule.soft]
        units = {rule.unit for rule in hard}
        return _Plan(
            slots=tuple(
                self._wallet.slot(rule, rule.subject(caller.key_id, ""))
                for rule in hard
                if rule.per != Per.END_USER
            ),
            per_end_user=tuple(rule for rule in hard if rule.per == Per.END_USER),
            soft=tuple(rule for rule in rules if rule.soft),
            has_usd=USD in units,
            has_tokens=TOKENS in units,
        )

    def _slots(self, plan: _Plan, caller: Caller, end_user: str) -> Sequence[Slot]:
        if not plan.per_end_user:
            return plan.slots
        return plan.slots + tuple(
            self._wallet.slot(rule, rule.subject(caller.key_id, end_user))
            for rule in plan.per_end_user
        )

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
        self, shares: Sequence[Share], needs: dict[str, int], output_tokens: int
    ) -> Reservation:
        for share in shares:
            share.last_use = self._wallet.tidyings
        holds = tuple(share.reserve(needs[share.unit]) for share in shares)
        return Reservation(holds, output_tokens)

    def _held_in_part(
        self, plan: _Plan, shares: Sequence[Share], estimate: Estimate
    ) -> Reservation:
        """Hold what is there: less output than the call would like."""
        output_tokens = _affordable_output(shares, estimate)
        return self._held(shares, _needs(plan, estimate, output_tokens), output_tokens)

    def _forget_gone_limits(self) -> None:
        """A limit that was deleted a moment ago binds nobody, though the snapshot still has it."""
        if self._refills.gone:
            rules = self._snapshot.rules
            self.replace(snapshot_of(r for i, r in rules.items() if i not in self._refills.gone))
            self._refills.gone.clear()


def _needs(plan: _Plan, estimate: Estimate, output_tokens: int) -> dict[str, int]:
    """What a call needs of a share, by unit."""
    return {
        REQUESTS: 1,
        CONCURRENT: 1,
        TOKENS: estimate.input_tokens + output_tokens,
        USD: estimate.cost_nano_usd(output_tokens) if plan.has_usd else 0,
    }


def _affordable_output(shares: Sequence[Share], estimate: Estimate) -> int:
    return estimate.affordable_output(
        tokens=min((share.idle for share in shares if share.unit == TOKENS), default=None),
        nano_usd=min((share.idle for share in shares if share.unit == USD), default=None),
    )


def _state(share: Share) -> LimitState:
    return state_of(
        share.slot.rule, ceiling=share.ceiling, used=share.used, reset_at=share.period_end
    )


def _tightest(shares: Iterable[Share], unit: str, alone: bool) -> LimitState | None:
    states = [
        state_of(
            share.slot.rule,
            ceiling=share.ceiling,
            # Others may have taken all of the rest since.
            used=share.used if alone else share.ceiling - share.idle,
            reset_at=share.period_end,
        )
        for share in shares
        if share.unit == unit and share.counter_id
    ]
    return min(states, key=lambda state: state.remaining, default=None)
