"""What has been told of a use before, so that each share is told once in a period.

A share is known by whose use of what it is a share of, in which period, and of which ceiling: not
by its limit's row, for most edits make a new row. Under another ceiling a share is told again
only where it stands for more than the use that was told already. So a raised ceiling has its
shares told once each as they are reached, and one that goes up and down repeats nothing.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction
from uuid import UUID

from billing.alert_words import Crossing, amount_of, plain
from billing.limit_rules import LimitRule
from billing.models import Alert

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Told:
    teller: UUID
    share: str
    ceiling: int
    used: int


def crossing_key(crossing: Crossing) -> str:
    """What the alert is known by."""
    counted, start, subject = _parts(crossing)
    return f"{counted} {start} {plain(crossing.share)} {crossing.rule.ceiling} {subject}"


def place_of(crossing: Crossing) -> str:
    """What the alerts of one use have in common, whatever their ceilings and shares."""
    return " ".join(_parts(crossing))


def _parts(crossing: Crossing) -> tuple[str, str, str]:
    return _counted(crossing.rule), crossing.period.start.isoformat(), crossing.subject


def _counted(rule: LimitRule) -> str:
    """What a limit counts: a hard and a soft one may count the same."""
    return f"limit {rule.team_id} {rule.key_id or '-'} {rule.unit} {rule.window} {rule.scope}"


class Repeats:
    """The alerts of some crossings' places that there are already."""

    def __init__(self, crossings: Iterable[Crossing], limits: Iterable[LimitRule]) -> None:
        """Args: limits: all that alert now."""
        self._ceilings: dict[str, set[int]] = {}
        for rule in limits:
            self._ceilings.setdefault(_counted(rule), set()).add(rule.ceiling)
        self._told = _told({place_of(crossing) for crossing in crossings})

    def teller_of(self, crossing: Crossing) -> UUID | None:
        """The alert that told this crossing; None while it is news."""
        ceiling = crossing.rule.ceiling
        # Of another limit beside this one, not of this one before an edit.
        others = self._ceilings.get(_counted(crossing.rule), set()) - {ceiling}
        told = [t for t in self._told.get(place_of(crossing), []) if t.ceiling not in others]
        same_share = [t for t in told if t.share == plain(crossing.share)]
        for earlier in same_share:
            if earlier.ceiling == ceiling:
                return earlier.teller
        if same_share and Fraction(crossing.share) * ceiling <= max(t.used for t in told):
            return same_share[-1].teller
        return None


def _told(places: Collection[str]) -> dict[str, list[_Told]]:
    """In the order in which they were told."""
    wanted, found = sorted(places), dict[str, list[_Told]]()
    for first in range(0, len(wanted), _AT_ONCE):
        rows = Alert.objects.filter(place__in=wanted[first : first + _AT_ONCE])
        for alert in rows.order_by("created_at").defer("key", "last_error"):
            data = alert.says["data"]
            unit = data["unit"]
            told = _Told(
                teller=alert.told_by_id or alert.pk,
                share=data["share"],
                ceiling=amount_of(unit, data["ceiling"]),
                used=amount_of(unit, data["used"]),
            )
            found.setdefault(alert.place, []).append(told)
    return found
