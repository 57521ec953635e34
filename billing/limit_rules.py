"""The limits as a worker knows them: an immutable copy of the table, swapped whole."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from billing import models
from billing.models import Per
from billing.periods import Period, period_of
from billing.sanitizing import storable

LONGEST_END_USER = 256


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One row of `billing.models.Limit`.

    Attributes:
        key_id: set for a limit that belongs to one key only.
        owner: for messages: `team research` or `key ci`.
    """

    id: int
    team_id: int
    key_id: int | None
    owner: str
    unit: str
    window: str
    per: str
    ceiling: int
    soft: bool
    timezone: str
    created_at: datetime

    @property
    def scope(self) -> str:
        """`team`, `key` or `end_user`: whose use is counted together."""
        if self.key_id is not None and self.per == Per.TEAM:
            return Per.KEY.value
        return self.per

    def binds(self, team_id: int, key_id: int) -> bool:
        return self.key_id == key_id or (self.key_id is None and self.team_id == team_id)

    def subject(self, key_id: int, end_user: str) -> str:
        """Whose use a call counts as: empty for a team, a key's id, or an end user."""
        if self.per == Per.END_USER:
            # As the ledger stores it, so that the two are of the same user.
            return end_user if end_user.isalnum() else storable(end_user, LONGEST_END_USER)
        return "" if self.scope == Per.TEAM else str(key_id)

    def period(self, at: datetime) -> Period:
        return period_of(self.window, self.timezone, at)


@dataclass(frozen=True, slots=True)
class LimitsSnapshot:
    rules: dict[int, LimitRule] = field(default_factory=dict)
    by_team: dict[int, tuple[LimitRule, ...]] = field(default_factory=dict)

    def of(self, team_id: int, key_id: int) -> list[LimitRule]:
        """The limits that a call with a key must keep, in the order they were made."""
        return [rule for rule in self.by_team.get(team_id, ()) if rule.binds(team_id, key_id)]


def load_limits() -> LimitsSnapshot:
    """Read all limits; one query."""
    rows = models.Limit.objects.select_related("team", "key").order_by("id")
    return snapshot_of(rule_of(row) for row in rows)


def snapshot_of(rules: Iterable[LimitRule]) -> LimitsSnapshot:
    by_id = {rule.id: rule for rule in rules}
    by_team: defaultdict[int, list[LimitRule]] = defaultdict(list)
    for rule in by_id.values():
        by_team[rule.team_id].append(rule)
    return LimitsSnapshot(by_id, {team: tuple(rules) for team, rules in by_team.items()})


def rule_of(row: models.Limit) -> LimitRule:
    return LimitRule(
        id=row.pk,
        team_id=row.team_id,
        key_id=row.key_id,
        owner=f"key {row.key.name}" if row.key else f"team {row.team.name}",
        unit=row.unit,
        window=row.window,
        per=row.per,
        ceiling=row.ceiling,
        soft=row.soft,
        timezone=row.timezone,
        created_at=row.created_at,
    )
