"""All that one worker holds: its shares of every counter, and when it lets them go."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from billing.allowances import Share, Slot
from billing.limit_rules import LimitRule
from billing.models import Per

# Tidyings (one a second) that a share may idle before it is given back.
IDLE_TIDYINGS = 3
# Tidyings after which recent use is half forgotten: it then covers 30 to 60 seconds.
AGEING_TIDYINGS = 30
# A share in use is filled up to the higher mark when it no longer covers the lower. Calls then go
# on for a minute when the database goes away, with something to spare for what goes by recent
# use, and an exchange is needed three times a minute.
LOW_WATER_SECONDS, HIGH_WATER_SECONDS = 80, 100
# Tidyings after which who has not called again is forgotten.
UNUSED_TIDYINGS = 900
# End users that are remembered; beyond it those seen longest ago are forgotten.
MOST_END_USERS = 10_000


class Wallet:
    """Shares by what they are of. A share stays until nothing of it is held any more."""

    def __init__(self) -> None:
        self.tidyings = 0
        self._slots: dict[tuple[int, str], Slot] = {}
        self._shares: dict[tuple[int, str, datetime], Share] = {}
        self._by_counter: dict[int, Share] = {}

    def slot(self, rule: LimitRule, subject: str) -> Slot:
        slot = self._slots.pop((rule.id, subject), None)
        if slot is None:
            slot = Slot(rule, subject, self.tidyings)
            slot.share = self._registered(slot.share)
        # Last in the order of use.
        self._slots[rule.id, subject] = slot
        return slot

    def share_at(self, slot: Slot, now: datetime) -> Share:
        """A slot's share of the period of a moment; the latest becomes the current one."""
        current = slot.share
        if current.start <= now < current.end:
            return current
        share = self._registered(Share(slot, now))
        if share.start > current.start:
            slot.share = share
        return share

    def running_low(self, now: datetime) -> list[Share]:
        """Shares to be filled before a call lacks something, those of periods to come included.

        Each end user calls too rarely for it to be worth while.
        """
        low = []
        soon = now + timedelta(seconds=LOW_WATER_SECONDS)
        for slot in self._slots.values():
            share = slot.share
            if slot.rule.per == Per.END_USER:
                continue
            if share.counter_id and self.tidyings - share.last_use < IDLE_TIDYINGS:
                if share.end <= soon:
                    low.append(self._registered(Share(slot, share.end)))
                if now < share.end:
                    low.append(share)
        return [share for share in low if share.ahead(LOW_WATER_SECONDS, self.tidyings)]

    @property
    def holds_something(self) -> bool:
        return any(not share.is_empty for share in self._shares.values())

    def recalled(self, counter_id: int) -> None:
        """Give up what idles of a counter, for another worker needs it."""
        share = self._by_counter.get(counter_id)
        if share is not None:
            share.give_up_idle()
            share.tight_at = self.tidyings

    def counter_known(self, share: Share, counter_id: int) -> None:
        share.counter_id = counter_id
        self._by_counter[counter_id] = share

    def of_counter(self, counter_id: int) -> Share | None:
        return self._by_counter.get(counter_id)

    def keeps(self, share: Share) -> bool:
        """Whether it has not been forgotten; what is granted to one that has is lost."""
        key = (share.slot.rule.id, share.slot.subject, share.start)
        return self._shares.get(key) is share

    def overdrawn(self) -> list[Share]:
        return [share for share in self._shares.values() if share.overdraft]

    def leaving(self) -> list[Share]:
        return [share for share in self._shares.values() if share.leaving]

    def follow(self, rules: dict[int, LimitRule]) -> None:
        """Take over changed rules. What idles under a changed or removed one is given up.

        Args:
            rules: those that refuse; soft ones hold nothing.
        """
        for share in self._shares.values():
            rule = rules.get(share.slot.rule.id)
            if rule != share.slot.rule:
                share.give_up_idle()
                share.ceiling = rule.ceiling if rule else share.ceiling
                share.edits += 1
        for key, slot in list(self._slots.items()):
            rule = rules.get(slot.rule.id)
            if rule is None:
                del self._slots[key]
            else:
                slot.rule = rule

    def tidy(self, now: datetime) -> None:
        """Give up what has idled for a while or is of a period that is over; forget the rest."""
        self.tidyings += 1
        for share in list(self._shares.values()):
            slot = self._slots.get((share.slot.rule.id, share.slot.subject))
            current = slot is not None and slot.share is share
            # Of a period to come: held ahead while the present one is in use.
            awaits = slot is not None and slot.share.start < share.start
            used = slot.share.last_use if slot is not None and awaits else share.last_use
            idled = self.tidyings - used >= IDLE_TIDYINGS
            if share.idle and (idled or now >= share.end or not (current or awaits)):
                share.give_up_idle()
            elif share.is_empty and not current and (idled or not awaits):
                self._forget(share)
        self._forget_end_users(len(self._slots) - MOST_END_USERS)
        if self.tidyings % AGEING_TIDYINGS == 0:
            for slot in self._slots.values():
                slot.age(self.tidyings, AGEING_TIDYINGS)

    def forget_unused(self) -> bool:
        """Forget now and then who has not called for long; whether that was anybody.

        Nobody may go on with a slot that is forgotten: ask for it again.
        """
        if self.tidyings % AGEING_TIDYINGS:
            return False
        unused = [
            key
            for key, slot in self._slots.items()
            if self.tidyings - slot.share.last_use >= UNUSED_TIDYINGS and slot.share.is_empty
        ]
        for key in unused:
            self._forget(self._slots.pop(key).share)
        return bool(unused)

    def give_up_everything(self) -> None:
        for share in self._shares.values():
            share.give_up_idle()

    def _registered(self, share: Share) -> Share:
        """The one share of a counter: a forgotten slot's may still be held when it comes again."""
        slot = share.slot
        registered = self._shares.setdefault((slot.rule.id, slot.subject, share.start), share)
        registered.slot = slot
        return registered

    def _forget(self, share: Share) -> None:
        del self._shares[share.slot.rule.id, share.slot.subject, share.start]
        self._by_counter.pop(share.counter_id, None)

    def _forget_end_users(self, surplus: int) -> None:
        if surplus <= 0:
            return
        forgettable = (
            key
            for key, slot in self._slots.items()
            if slot.rule.per == Per.END_USER and slot.share.is_empty
        )
        for key in _first(surplus, forgettable):
            del self._slots[key]


def _first(count: int, keys: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    return [key for _, key in zip(range(count), keys, strict=False)]
