"""An edit takes effect on what is open, and never loses what was counted."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from billing.counter_sweep import sweep_counters
from billing.errors import LimitExceededError
from billing.ledger import post
from billing.limit_edits import change_limit, create_limit
from billing.limits import load_limits
from billing.models import Counter, Holding, Limit
from keys.versions import read_version
from tests.billing.ledger_samples import entry
from tests.billing.limit_world import (
    NOW,
    held,
    make_caller,
    make_limit,
    make_team,
    make_worker,
    open_limits,
    play,
    running,
    taken,
    tokens,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def team():
    return make_team(timezone="Europe/Paris")


def use(team, caller, used: int, at=NOW, **fields):
    """A call that some worker admitted before it knew of any limit."""
    row = entry(
        f"before-{used}",
        started_at=at,
        team_id=team.pk,
        key_id=caller.key_id,
        input_tokens=used,
        output_tokens=0,
        cost_nano_usd=used,
        **fields,
    )
    post([row], worker_id=None)


def test_a_limit_gets_its_teams_zone(team):
    assert create_limit(team, unit="usd", window="day", ceiling=5).timezone == "Europe/Paris"


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("window", {"unit": "requests", "ceiling": 1}),
        ("window", {"unit": "concurrent", "window": "day", "ceiling": 1}),
        ("window", {"unit": "usd", "window": "year", "ceiling": 1}),
        ("unit", {"unit": "euros", "window": "day", "ceiling": 1}),
        ("ceiling", {"unit": "usd", "window": "day", "ceiling": -1}),
        ("ceiling", {"unit": "usd", "window": "day", "ceiling": 2**63}),
        ("per", {"unit": "usd", "window": "day", "ceiling": 1, "per": "planet"}),
        ("alert_at", {"unit": "usd", "window": "day", "ceiling": 1, "alert_at": [0]}),
        ("alert_at", {"unit": "usd", "window": "day", "ceiling": 1, "alert_at": [float("nan")]}),
        ("alert_at", {"unit": "usd", "window": "day", "ceiling": 1, "alert_at": [0.8, 80]}),
        ("alert_at", {"unit": "usd", "window": "day", "ceiling": 1, "alert_at": [1, 0.5, 1.0]}),
        ("alert_at", {"unit": "concurrent", "ceiling": 1, "alert_at": [0.8]}),
        ("soft", {"unit": "concurrent", "ceiling": 1, "soft": True}),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(team, field, fields):
    with pytest.raises(ValidationError) as refused:
        create_limit(team, **fields)
    assert field in refused.value.message_dict
    assert not Limit.objects.exists()


@pytest.mark.parametrize("other", [{"window": "week"}, {"soft": True}, {"per": "key"}])
def test_limits_that_count_otherwise_stand_beside_each_other(team, other):
    same: dict[str, Any] = {"unit": "requests", "window": "day", "ceiling": 1}
    create_limit(team, **same)
    create_limit(team, **same | other)
    with pytest.raises(ValidationError) as refused:
        create_limit(team, **same | other)
    assert list(refused.value.message_dict) == ["unit"]


def test_a_keys_own_limit_counts_the_key_whatever_it_is_called(team):
    key = team.keys.create(name="ci", secret_hash="h" * 64, prefix="gw_aaaaaa")
    same: dict[str, Any] = {"unit": "requests", "window": "day", "ceiling": 1, "key": key}
    create_limit(team, **same, per="key")
    create_limit(team, **same, per="end_user")
    with pytest.raises(ValidationError):
        create_limit(team, **same, per="team")


def test_twins_of_earlier_days_can_be_edited_until_they_differ(team):
    first, _ = (
        Limit.objects.create(team=team, unit="requests", window="day", ceiling=1) for _ in range(2)
    )
    change_limit(first, ceiling=2)
    team.timezone = "Asia/Tokyo"
    team.save()
    assert set(Limit.objects.values_list("timezone", flat=True)) == {"Asia/Tokyo"}
    change_limit(Limit.objects.latest("pk"), window="week")


def test_a_limit_on_a_key_of_another_team_is_refused(team):
    stranger = make_caller(make_team("others"))
    key = make_team("third").keys.model.objects.get(pk=stranger.key_id)
    with pytest.raises(ValidationError):
        create_limit(team, unit="requests", window="day", ceiling=1, key=key)


def test_a_ceiling_changes_in_place_and_raises_the_version(team):
    limit = create_limit(team, unit="requests", window="day", ceiling=1)
    before = read_version()
    assert change_limit(limit, ceiling=2).pk == limit.pk
    assert Limit.objects.get().ceiling == 2
    assert read_version() > before


@pytest.mark.parametrize("changes", [{"window": "week"}, {"soft": True}, {"per": "key"}])
def test_any_other_edit_makes_a_new_limit(team, changes):
    limit = create_limit(team, unit="requests", window="day", ceiling=1)
    changed = change_limit(limit, **changes)
    assert changed.pk != limit.pk
    assert Limit.objects.get() == changed
    assert changed.created_at > limit.created_at


def test_a_team_that_moves_takes_its_days_along(team):
    create_limit(team, unit="requests", window="day", ceiling=1)
    create_limit(team, unit="requests", window="minute", ceiling=1)
    team.timezone = "Asia/Tokyo"
    team.save()
    assert set(Limit.objects.values_list("window", "timezone")) == {
        ("day", "Asia/Tokyo"),
        ("minute", "Europe/Paris"),
    }


def test_R45_open_counters_follow_a_ceiling_and_closed_ones_do_not(team):
    limit = make_limit(team, "requests", "day", 10)
    today = timezone.now()
    for start in (today - timedelta(days=2), today - timedelta(hours=1)):
        end = start + timedelta(days=1)
        Counter.objects.create(limit=limit, period_start=start, period_end=end, ceiling=10)
    Counter.objects.create(limit=limit, subject="x", period_start=today, ceiling=10)
    Limit.objects.update(ceiling=3)
    assert list(Counter.objects.order_by("id").values_list("ceiling", flat=True)) == [10, 3, 3]


def test_a_ceiling_below_what_is_taken_refuses_and_shows_nothing_left(team, caller):
    limit = make_limit(team, "requests", "day", 10)
    limits = open_limits()

    async def call_often():
        for _ in range(5):
            reservation = await limits.reserve(caller, tokens(1), "", NOW)
            limits.settle(reservation, tokens=1, cost_nano_usd=0)

    async def call_again():
        with pytest.raises(LimitExceededError):
            await limits.reserve(caller, tokens(1), "", NOW)
        return await limits.state(caller, NOW)

    with running(limits) as runner:
        runner.run(call_often())
        change_limit(limit, ceiling=2)
        limits.replace(load_limits())
        assert limits.reserve_at_once(caller, tokens(1), "", NOW) is None
        state = runner.run(call_again())[0]
        assert (state.ceiling, state.used, state.remaining) == (2, 5, 0)


def test_chunks_above_a_lowered_ceiling_go_back_even_before_the_edit_is_known(team, caller):
    limit = make_limit(team, "tokens", "day", 1000)
    limits = open_limits()

    async def call(size):
        reservation = await limits.reserve(caller, tokens(size), "", NOW)
        return limits.settle(reservation, tokens=10, cost_nano_usd=0)

    async def call_in_vain():
        with pytest.raises(LimitExceededError):
            await call(900)

    with running(limits) as runner:
        runner.run(call(500))
        change_limit(limit, ceiling=100)
        runner.run(call_in_vain())
        runner.run(limits.tidy(NOW))
        assert taken(limit) == 100
        assert held(limit) == 100


@pytest.mark.parametrize("how", ["settle", "void"])
def test_what_calls_free_above_a_lowered_ceiling_is_not_spent_again(team, caller, how):
    limit = make_limit(team, "tokens", "day", 100)
    one, two = open_limits(), open_limits()

    async def call(limits, size):
        return await limits.reserve(caller, tokens(size), "", NOW)

    with running(one, two) as runner:
        call_of_one = runner.run(call(one, 30))
        runner.run(call(two, 70))
        change_limit(limit, ceiling=50)
        one.replace(load_limits())
        if how == "settle":
            one.settle(call_of_one, tokens=1, cost_nano_usd=0)
        else:
            one.void(call_of_one)
        with pytest.raises(LimitExceededError):
            runner.run(call(one, 10))


def test_a_raised_ceiling_admits_at_once(team, caller):
    limit = make_limit(team, "requests", "day", 0)
    limits = open_limits()

    async def refused():
        with pytest.raises(LimitExceededError):
            await limits.reserve(caller, tokens(1), "", NOW)

    with running(limits) as runner:
        runner.run(refused())
        change_limit(limit, ceiling=1)
        assert runner.run(limits.reserve(caller, tokens(1), "", NOW)).holds


@pytest.mark.parametrize(
    ("unit", "per", "start"),
    [
        ("tokens", "team", 77),
        ("usd", "team", 77),
        ("requests", "team", 2),
        ("tokens", "key", 70),
        ("tokens", "end_user", 70),
    ],
)
def test_a_limit_made_during_a_period_starts_from_the_ledger(team, caller, unit, per, start):
    use(team, caller, 70, end_user="alice")
    use(team, make_caller(team, "other"), 7, end_user="bob")
    use(team, caller, 5, at=NOW - timedelta(days=1))
    limit = make_limit(team, unit, "day", 1000, per=per)
    Limit.objects.update(created_at=NOW)
    limits = open_limits()
    states = play(limits, limits.state(caller, NOW, "alice"))
    assert states[0].used == taken(limit) == start


def test_a_limit_of_one_key_starts_from_that_keys_rows(team, caller):
    use(team, caller, 70)
    use(team, make_caller(team, "other"), 7)
    limit = make_limit(team, "tokens", "total", 1000, key_id=caller.key_id)
    Limit.objects.update(created_at=NOW)
    limits = open_limits()
    play(limits, limits.state(caller, NOW))
    assert taken(limit) == 70


def test_a_soft_limit_shows_what_the_ledger_says(team, caller):
    use(team, caller, 70)
    make_limit(team, "usd", "day", 50, soft=True)
    limits = open_limits()
    state = play(limits, limits.state(caller, NOW))[0]
    assert (state.used, state.remaining, state.soft) == (70, 0, True)
    assert not Counter.objects.exists()


def test_finished_counters_of_short_windows_are_swept(team):
    minute, day = make_limit(team, "requests", "minute", 1), make_limit(team, "usd", "day", 1)
    for limit, subject in ((minute, ""), (minute, "held"), (day, "")):
        Counter.objects.create(
            limit=limit, subject=subject, period_start=NOW, period_end=NOW, ceiling=1
        )
    holding = Counter.objects.get(subject="held")
    Holding.objects.create(counter=holding, worker=make_worker(), amount=1)
    assert sweep_counters(NOW) == 0
    assert sweep_counters(NOW + timedelta(hours=2)) == 1
    assert set(Counter.objects.values_list("limit", "subject")) == {
        (minute.pk, "held"),
        (day.pk, ""),
    }
