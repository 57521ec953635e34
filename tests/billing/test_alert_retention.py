"""Alerts of long ago are deleted, and come back in no look."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.alert_retention import forget_old
from billing.alert_sweep import look
from billing.models import Alert
from tests.billing.ledger_filling import call, fill
from tests.billing.limit_world import make_limit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def spend(caller):
    """A call of the team, and a look at what it crossed."""

    def at(now, **changes):
        of = {"team_id": caller.team_id, "key_id": caller.key_id, "started_at": now}
        fill(call(**of, **changes))
        while look(now):
            pass

    return at


def test_an_alert_stays_for_ninety_days_after_its_period(team, spend):
    make_limit(team, "requests", "month", 1, alert_at=[0.5, 1.0])
    spend(NOON)
    march_ends = datetime(2026, 4, 1, tzinfo=UTC)
    spend(march_ends + timedelta(days=89))
    assert forget_old() == 0
    spend(NOON + timedelta(days=121))
    # Both shares of March; those of June and July are there.
    assert forget_old() == 2
    assert forget_old() == 0
    assert Alert.objects.exists()


def test_a_limit_in_total_is_never_told_again(team, spend):
    make_limit(team, "requests", "total", 1, alert_at=[1.0])
    for days in (0, 121, 400):
        spend(NOON + timedelta(days=days))
        forget_old()
    assert Alert.objects.get().created_at == NOON


def test_use_beyond_the_bound_is_deleted_too(spend):
    spend(NOON, flags=("beyond_bound",))
    spend(NOON + timedelta(days=121))
    assert forget_old() == 1
    assert not Alert.objects.exists()


def test_nothing_is_deleted_that_a_late_look_must_know(team, spend):
    make_limit(team, "requests", "day", 1, alert_at=[1.0])
    spend(NOON)
    # Nobody has looked since, however late it is by now.
    assert forget_old() == 0
    assert look(NOON + timedelta(days=400)) is False
    assert Alert.objects.count() == 1
