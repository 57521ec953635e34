"""How limits stand now: by counters, and by the ledger where nothing counts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billing.alert_use import uses_of
from billing.limit_rules import rule_of
from billing.limit_use import NO_END_USER, Standing, standings
from billing.models import Counter, Holding, Limit, Worker
from keys.issuing import issue_key
from keys.models import Team
from tests.billing.ledger_filling import NOON, call, fill

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DAY = datetime(2026, 3, 10, tzinfo=UTC)


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="research")


def limit(team: Team, **kind: Any) -> Limit:
    row = Limit.objects.create(team=team, **{"unit": "requests", "window": "day", **kind})
    Limit.objects.filter(pk=row.pk).update(created_at=LONG_AGO)
    return Limit.objects.get(pk=row.pk)


def standing(row: Limit) -> Standing:
    return standings([row], NOON)[row.pk]


def count(row: Limit, subject: str, taken: int, *, held: int = 0) -> None:
    windowless = row.unit == "concurrent"
    counter = Counter.objects.create(
        limit=row,
        subject=subject,
        period_start=datetime(1970, 1, 1, tzinfo=UTC) if windowless else DAY,
        period_end=None if windowless else DAY + timedelta(days=1),
        ceiling=row.ceiling,
        taken=taken,
    )
    worker, _ = Worker.objects.get_or_create(name="w", host="h", journal="j", started_at=NOON)
    Holding.objects.create(counter=counter, worker=worker, amount=held)


def test_what_workers_hold_is_no_use_of_a_team(team):
    row = limit(team, ceiling=100)
    count(row, "", 50, held=30)
    (use,) = standing(row).most
    assert (use.used, use.held, use.remaining, use.percent) == (20, 30, 80, 20)


def test_calls_at_once_are_what_is_held(team):
    row = limit(team, unit="concurrent", window="", ceiling=10)
    count(row, "", 3, held=3)
    assert (standing(row).most[0].used, standing(row).reset_at) == (3, None)


def test_of_many_end_users_those_that_used_the_most_are_told(team):
    row = limit(team, ceiling=9, per="end_user")
    for number in range(10):
        count(row, f"user {number}", number + 1, held=1)
    count(row, "", 8)
    shown = standing(row)
    assert [(use.subject, use.used) for use in shown.most] == [
        ("user 9", 9), ("user 8", 8), (NO_END_USER, 8), ("user 7", 7), ("user 6", 6),
    ]  # fmt: skip
    # Whoever holds one and has used nothing is none of them; 80 % of 9 are 8 at least.
    assert (shown.subjects, shown.near, shown.shared) == (10, 3, False)


def test_calls_at_once_of_end_users_are_what_is_held(team):
    row = limit(team, unit="concurrent", window="", ceiling=4, per="end_user")
    count(row, "alice", 3, held=3)
    assert [(use.subject, use.used) for use in standing(row).most] == [("alice", 3)]


def test_a_limit_of_a_key_is_shared_by_the_calls_of_the_key(team):
    key, _ = issue_key(team, "ci")
    row = limit(team, key=key, ceiling=4)
    count(row, str(key.pk), 1)
    shown = standing(row)
    assert (shown.shared, shown.most[0].used, shown.most[0].subject) == (True, 1, "ci")


def test_keys_that_used_nothing_are_left_out(team):
    keys = [issue_key(team, name)[0] for name in ("ci", "web")]
    row = limit(team, ceiling=4, per="key")
    for key, taken in zip(keys, (0, 4), strict=True):
        count(row, str(key.pk), taken)
    shown = standing(row)
    assert (shown.subjects, shown.near) == (1, 1)
    assert [use.subject for use in shown.most] == ["web"]


@pytest.mark.parametrize("window", ["minute", "hour", "day", "week", "month", "total"])
@pytest.mark.parametrize("unit", ["requests", "tokens", "usd"])
def test_what_only_the_ledger_knows_of_end_users_is_what_alerts_go_by(team, window, unit):
    key, _ = issue_key(team, "ci")
    other, _ = issue_key(team, "web")
    soft = {"unit": unit, "window": window, "ceiling": 9, "per": "end_user", "soft": True}
    rows = [limit(team, **soft), limit(team, key=key, **soft)]
    at = {"team_id": team.pk, "started_at": NOON}
    fill(
        *(call(**at, key_id=key.pk, end_user="alice") for _ in range(3)),
        call(**at, key_id=other.pk, end_user="bob"),
        call(**at, key_id=other.pk, end_user=""),
        call(**at | {"started_at": NOON - timedelta(days=40)}, end_user="carol"),
        call(started_at=NOON, team_id=999, end_user="mallory"),
    )
    found = standings(rows, NOON)
    for row in rows:
        rule = rule_of(row)
        known = uses_of(rule, rule.period(NOON), None, least=1)  # type: ignore[arg-type]
        shown = {use.subject: use.used for use in found[row.pk].most}
        assert shown == {user or NO_END_USER: use for user, use in known.items()}


def test_a_new_limit_knows_end_users_who_have_not_called_since(team):
    row = Limit.objects.create(
        team=team, unit="requests", window="total", ceiling=9, per="end_user"
    )
    fill(call(team_id=team.pk, end_user="alice"), call(team_id=team.pk, end_user="bob"))
    count_of_bob = {"limit": row, "subject": "bob", "ceiling": 9, "taken": 1}
    Counter.objects.create(**count_of_bob, period_start=datetime(1970, 1, 1, tzinfo=UTC))
    assert {use.subject: use.used for use in standing(row).most} == {"alice": 1, "bob": 1}
