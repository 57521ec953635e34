"""Which limits a call must keep, and what it needs of each."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.allowances import CONCURRENT, REQUESTS, TOKENS, USD, Share, Slot
from billing.estimate import Estimate
from billing.limit_rules import LimitRule, LimitsSnapshot
from billing.models import Per
from billing.wallet import Wallet
from keys.caller import Caller


@dataclass(frozen=True, slots=True)
class Plan:
    """The limits that bind a key. `slots` are those whose subject every call of it shares."""

    slots: tuple[Slot, ...]
    per_end_user: tuple[LimitRule, ...]
    soft: tuple[LimitRule, ...]
    has_usd: bool
    has_tokens: bool

    def needs(self, estimate: Estimate, output_tokens: int) -> dict[str, int]:
        """What a call needs of a share, by unit."""
        return {
            REQUESTS: 1,
            CONCURRENT: 1,
            TOKENS: estimate.input_tokens + output_tokens,
            USD: estimate.cost_nano_usd(output_tokens) if self.has_usd else 0,
        }


class Plans:
    """The plans of the keys that have called, by the limits of now."""

    def __init__(self, wallet: Wallet) -> None:
        self.snapshot = LimitsSnapshot()
        self._wallet = wallet
        self._of_key: dict[int, Plan] = {}

    def replace(self, snapshot: LimitsSnapshot) -> None:
        self.snapshot = snapshot
        self.forget()

    def forget(self) -> None:
        """Make them anew: the slots of some are forgotten."""
        self._of_key.clear()

    def of(self, caller: Caller) -> Plan:
        plan = self._of_key.get(caller.key_id)
        if plan is None:
            plan = self._of_key[caller.key_id] = self._make(caller)
        return plan

    def slots(self, caller: Caller, end_user: str) -> Sequence[Slot]:
        """All that a call meets."""
        plan = self.of(caller)
        if not plan.per_end_user:
            return plan.slots
        return plan.slots + tuple(
            self._wallet.slot(rule, rule.subject(caller.key_id, end_user))
            for rule in plan.per_end_user
        )

    def _make(self, caller: Caller) -> Plan:
        rules = self.snapshot.of(caller.team_id, caller.key_id)
        hard = [rule for rule in rules if not rule.soft]
        units = {rule.unit for rule in hard}
        return Plan(
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


def affordable_output(shares: Sequence[Share], estimate: Estimate) -> int:
    """The most output tokens that what these shares hold can pay for."""
    return estimate.affordable_output(
        tokens=min((share.idle for share in shares if share.unit == TOKENS), default=None),
        nano_usd=min((share.idle for share in shares if share.unit == USD), default=None),
    )
