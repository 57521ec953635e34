"""Which alerts are found, and that each is found once."""

from datetime import UTC, datetime, timedelta
from importlib import import_module
from threading import Barrier, Thread

import pytest
from django.apps import apps
from django.db import connection

from billing.alert_sweep import look
from billing.entries import Charge
from billing.limit_edits import change_limit, create_limit
from billing.models import Alert, Counter, LabelTotal, Limit, SpendTotal
from tests.billing.ledger_filling import call, fill
from tests.billing.limit_world import make_caller, make_limit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
CENT = 10_000_000


@pytest.fixture
def spend(caller):
    """Post a call of the team; by default it costs a cent."""

    def post(at=NOON, **changes):
        of = {"team_id": caller.team_id, "key_id": caller.key_id, "started_at": at}
        fill(call(**{"cost_nano_usd": CENT, **of, **changes}))

    return post


def look_at(now=NOON):
    while look(now):
        pass


def titles():
    sent = Alert.objects.filter(told_by=None).order_by("created_at", "key")
    return [str(alert) for alert in sent]


def test_each_share_alerts_once_over_many_looks(team, spend):
    make_limit(team, "usd", "day", 10 * CENT, alert_at=[0.5, 0.8, 1.0])
    told = []
    for number in range(1, 13):
        spend()
        look_at(NOON + timedelta(seconds=number))
        look_at(NOON + timedelta(seconds=number))
        told.append(len(titles()))
    assert told == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert titles() == [
        f"Team research has used {share} % of its budget of 0.10 USD per day"
        for share in (50, 80, 100)
    ]


def test_the_next_period_alerts_again(team, spend):
    make_limit(team, "requests", "day", 1, alert_at=[1])
    for days in range(3):
        spend(NOON + timedelta(days=days))
        look_at(NOON + timedelta(days=days))
    assert len(titles()) == 3


def test_a_soft_limit_without_shares_alerts_when_it_is_full(team, spend):
    make_limit(team, "tokens", "total", 300, soft=True)
    spend()
    look_at()
    assert titles() == []
    spend()
    look_at()
    assert titles() == ["Team research has used 100 % of its limit of 300 tokens in total"]


def test_a_hard_limit_without_shares_says_nothing(team, spend):
    make_limit(team, "requests", "day", 1)
    spend()
    look_at()
    assert not Alert.objects.exists()


def test_a_share_is_exact_to_the_nano_dollar(team, spend):
    # In floating point 0.07 * 100 is more than 7.
    make_limit(team, "usd", "month", 100, soft=True, alert_at=[0.07])
    spend(cost_nano_usd=6)
    look_at()
    assert titles() == []
    spend(cost_nano_usd=1)
    look_at()
    assert titles() == ["Team research has used 7 % of its budget of 0.0000001 USD per month"]


def test_of_several_shares_at_once_only_the_highest_goes_out(team, spend):
    limit = make_limit(team, "requests", "hour", 2, alert_at=[0.2, 0.5, 1, 2])
    spend()
    spend()
    look_at()
    assert titles() == ["Team research has used 100 % of its limit of 2 requests per hour"]
    # The others are known all the same: a raised ceiling does not bring them back.
    change_limit(limit, ceiling=4)
    look_at()
    assert Alert.objects.count() == 3
    assert len(titles()) == 1


def test_an_edited_ceiling_repeats_nothing_and_finds_what_is_new(team, spend):
    limit = make_limit(team, "requests", "day", 4, alert_at=[0.5, 1.0])
    spend()
    spend()
    look_at()
    change_limit(limit, ceiling=3)
    look_at()
    assert len(titles()) == 1
    # No further call: the edit alone makes it full.
    change_limit(limit, ceiling=2)
    look_at()
    assert titles()[1] == "Team research has used 100 % of its limit of 2 requests per day"


def test_a_raised_ceiling_is_told_as_its_shares_are_reached_anew(team, spend):
    limit = make_limit(team, "requests", "day", 2, alert_at=[0.5, 1.0])
    spend()
    look_at()
    spend()
    look_at()
    change_limit(limit, ceiling=3)
    look_at()
    # Half of three is less than the two calls that were told.
    assert len(titles()) == 2
    change_limit(limit, ceiling=6)
    look_at()
    assert len(titles()) == 2
    spend()
    look_at(NOON + timedelta(seconds=15))
    assert titles()[2] == "Team research has used 50 % of its limit of 6 requests per day"


def test_a_ceiling_that_goes_up_and_down_repeats_nothing(team, spend):
    limit = make_limit(team, "requests", "day", 2, soft=True, alert_at=[0.5, 1.0])
    for _ in range(4):
        spend()
        look_at()
    for ceiling in (4, 2, 3, 1, 4, 2):
        change_limit(limit, ceiling=ceiling)
        look_at()
    # Two calls had been told when the ceiling became four, so that four are reached is news.
    assert titles() == [
        f"Team research has used {told} per day"
        for told in (
            "50 % of its limit of 2 requests",
            "100 % of its limit of 2 requests",
            "100 % of its limit of 4 requests",
        )
    ]


def as_hard(limit):
    return change_limit(limit, soft=False)


def in_london(limit):
    """Where, in winter, days begin as they do in UTC."""
    limit.team.timezone = "Europe/London"
    limit.team.save()


def made_again(limit):
    kept = {name: getattr(limit, name) for name in ("per", "key", "alert_at", "soft")}
    limit.delete()
    create_limit(limit.team, unit=limit.unit, window=limit.window, ceiling=limit.ceiling, **kept)


@pytest.mark.parametrize("edit", [as_hard, in_london, made_again])
@pytest.mark.parametrize("per", ["team", "key", "end_user"])
def test_a_new_row_of_the_same_limit_repeats_nothing(team, spend, edit, per):
    limit = make_limit(team, "requests", "day", 4, per=per, soft=True, alert_at=[0.5, 1.0])
    for _ in range(2):
        spend(end_user="alice")
    look_at()
    edit(limit)
    assert Limit.objects.get().pk != limit.pk
    Limit.objects.update(created_at=NOON)
    look_at(NOON + timedelta(seconds=15))
    assert len(titles()) == 1
    for _ in range(2):
        spend(end_user="alice")
    look_at(NOON + timedelta(seconds=30))
    assert len(titles()) == 2


@pytest.mark.parametrize(
    "other", [{"window": "month"}, {"unit": "tokens", "ceiling": 300}, {"per": "key"}]
)
def test_a_limit_that_counts_something_else_is_told_too(team, spend, other):
    make_limit(team, "requests", "day", 2, soft=True, alert_at=[1.0])
    spend()
    spend()
    look_at()
    of = {"unit": "requests", "window": "day", "ceiling": 2, **other}
    make_limit(team, of.pop("unit"), of.pop("window"), of.pop("ceiling"), soft=True, **of)
    look_at(NOON + timedelta(seconds=15))
    assert len(titles()) == 2


def test_a_soft_and_a_hard_limit_beside_one_another_are_both_told(team, spend):
    make_limit(team, "requests", "day", 2, soft=True, alert_at=[0.5, 1.0])
    for _ in range(4):
        spend()
    look_at()
    make_limit(team, "requests", "day", 4, alert_at=[0.5, 1.0])
    look_at(NOON + timedelta(seconds=15))
    assert titles() == [
        f"Team research has used 100 % of its limit of {ceiling} requests per day"
        for ceiling in (2, 4)
    ]


def test_of_a_soft_and_a_hard_limit_of_one_ceiling_the_hard_one_is_told(team, spend):
    make_limit(team, "requests", "day", 1, alert_at=[1.0])
    make_limit(team, "requests", "day", 1, soft=True)
    spend()
    look_at()
    assert "are refused" in Alert.objects.get().says["text"]


def test_what_was_told_before_rows_stopped_naming_alerts_is_not_told_again(team, spend):
    other = make_caller(team, "nightly")
    make_limit(team, "usd", "day", 5 * CENT, soft=True, alert_at=[0.2])
    make_limit(team, "requests", "total", 1, key_id=other.key_id, alert_at=[1.0])
    make_limit(team, "tokens", "month", 150, per="end_user", soft=True)
    spend(key_id=other.key_id, end_user="alice in chains")
    look_at()
    told = set(titles())
    assert len(told) == 3
    for alert in Alert.objects.all():
        data = alert.says["data"]
        start = data["period_start"] or "1970-01-01T00:00:00+00:00"
        alert.key = f"limit {data['limit_id']} {start} {data['share']} {data['subject']}"
        alert.place = ""
        alert.save()
    import_module("billing.migrations.0006_alert_places").know_by_place(apps, None)
    for limit in Limit.objects.filter(soft=True):
        change_limit(limit, soft=False, alert_at=limit.alert_at or [1.0])
    Limit.objects.update(created_at=NOON)
    spend(key_id=other.key_id, end_user="alice in chains")
    look_at(NOON + timedelta(seconds=15))
    assert set(titles()) == told
    assert Alert.objects.count() == 3


def test_a_lower_share_that_is_added_later_is_not_told_after_a_higher_one(team, spend):
    limit = make_limit(team, "requests", "day", 1, alert_at=[1.0])
    spend()
    look_at()
    change_limit(limit, alert_at=[0.5, 1.0])
    look_at()
    assert len(titles()) == 1


@pytest.mark.parametrize("window", ["minute", "hour", "day"])
def test_a_look_that_comes_late_still_finds_what_ended_meanwhile(team, spend, window):
    make_limit(team, "requests", window, 2, alert_at=[1.0])
    look_at(NOON)
    for days in (0, 2):
        spend(NOON + timedelta(days=days))
        spend(NOON + timedelta(days=days, seconds=1))
    look_at(NOON + timedelta(days=4))
    assert len(titles()) == 2


def test_a_row_that_is_posted_late_counts_where_it_belongs(team, spend):
    make_limit(team, "requests", "hour", 2, alert_at=[1.0])
    spend(NOON)
    look_at(NOON + timedelta(hours=2))
    spend(NOON)
    look_at(NOON + timedelta(hours=2, seconds=15))
    assert len(titles()) == 1
    assert Alert.objects.get().says["data"]["period_start"] == NOON.isoformat()


def test_a_correction_of_long_ago_is_no_news(team, spend):
    make_limit(team, "requests", "day", 1, alert_at=[1.0])
    spend(NOON)
    Alert.objects.all().delete()
    look_at(NOON + timedelta(days=40))
    Alert.objects.all().delete()
    spend(NOON + timedelta(days=1))
    look_at(NOON + timedelta(days=40))
    assert titles() == []


def test_a_ceiling_of_nothing_alerts_at_the_first_use(team, spend):
    make_limit(team, "requests", "day", 0, soft=True)
    look_at()
    assert titles() == []
    spend()
    look_at()
    assert len(titles()) == 1


def test_each_key_is_told_by_name(team, spend):
    other = make_caller(team, "nightly")
    make_limit(team, "requests", "day", 2, per="key", alert_at=[1.0])
    own = make_limit(team, "usd", "week", 3 * CENT, key_id=other.key_id, alert_at=[1.0])
    spend()
    spend(key_id=other.key_id, key_name="nightly")
    spend(key_id=other.key_id, key_name="nightly")
    look_at()
    assert titles() == [
        "Key nightly of team research has used 100 % of its limit of 2 requests per day"
    ]
    spend(key_id=other.key_id, key_name="nightly")
    look_at()
    assert Alert.objects.filter(says__data__limit_id=own.pk).count() == 1


@pytest.mark.parametrize("window", ["minute", "hour", "day", "month", "total"])
def test_each_end_user_is_told_alone(team, spend, window):
    make_limit(team, "tokens", window, 300, per="end_user", soft=True)
    for end_user in ("alice", "bob", "alice", "", ""):
        spend(end_user=end_user)
    look_at()
    assert [title.partition(" has ")[0] for title in titles()] == [
        "The group of calls without an end user of team research",
        "End user alice of team research",
    ]


def test_an_end_user_of_one_key_is_told_from_that_keys_calls(team, caller, spend):
    other = make_caller(team, "nightly")
    make_limit(team, "requests", "day", 2, per="end_user", key_id=other.key_id, soft=True)
    spend(end_user="alice")
    spend(end_user="alice", key_id=other.key_id)
    look_at()
    assert titles() == []
    spend(end_user="alice", key_id=other.key_id)
    look_at()
    assert titles()[0].startswith("End user alice of key nightly of team research has used 100 %")


@pytest.mark.parametrize("per", ["team", "end_user"])
def test_a_day_of_23_hours_in_the_teams_zone(spend, per, team):
    team.timezone = "Europe/Paris"
    team.save()
    make_limit(team, "requests", "day", 3, per=per, alert_at=[1.0])
    # On 29 March 2026 Paris skips an hour: the day is 28 March 23:00Z to 29 March 22:00Z.
    begins, ends = (datetime(2026, 3, day, hour, tzinfo=UTC) for day, hour in ((28, 23), (29, 22)))
    second = timedelta(seconds=1)
    paris = {"end_user": "alice", "timezone": "Europe/Paris"}
    spend(begins - second, **paris)
    spend(ends, **paris)
    spend(begins, **paris)
    spend(ends - second, **paris)
    look_at(ends)
    assert titles() == []
    spend(begins + timedelta(hours=5), **paris)
    look_at(ends)
    says = Alert.objects.get().says
    assert says["data"]["period_start"] == begins.isoformat()
    assert says["data"]["period_end"] == ends.isoformat()
    assert "Resets: 2026-03-30 00:00 (Europe/Paris)" in says["text"]


def test_end_users_of_a_team_that_moved_are_counted_by_the_new_days(team, spend):
    make_limit(team, "requests", "day", 2, per="end_user", soft=True)
    # One day in UTC, two days in Tokyo (which begin at 15:00Z).
    spend(NOON, end_user="alice")
    team.timezone = "Asia/Tokyo"
    team.save()
    Limit.objects.update(created_at=NOON + timedelta(hours=3, seconds=30))
    spend(NOON + timedelta(hours=4), end_user="alice", timezone="Asia/Tokyo")
    look_at(NOON + timedelta(hours=4))
    assert titles() == []
    spend(NOON + timedelta(hours=5), end_user="alice", timezone="Asia/Tokyo")
    look_at(NOON + timedelta(hours=5))
    assert len(titles()) == 1


def test_totals_are_asked_and_not_the_ledger(team, spend):
    make_limit(team, "requests", "month", 2, alert_at=[1.0])
    make_limit(team, "requests", "month", 2, per="end_user", alert_at=[1.0])
    spend(end_user="alice")
    look_at()
    # Only new rows are read; what lay before is in the totals alone.
    SpendTotal.objects.update(requests=1)
    LabelTotal.objects.update(requests=1)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM billing_ledgerentry")
    spend(end_user="alice")
    look_at()
    assert len(titles()) == 2


def test_two_looks_at_once_record_everything_once(team, spend):
    make_limit(team, "requests", "day", 1, alert_at=[1.0])
    look_at()
    for number in range(5):
        spend(NOON + timedelta(days=number))
        barrier = Barrier(4)

        def race(barrier=barrier, now=NOON + timedelta(days=number)):
            try:
                barrier.wait()
                look_at(now)
            finally:
                connection.close()

        threads = [Thread(target=race) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(titles()) == number + 1


def test_use_beyond_the_bound_is_told_once_a_day_for_team_and_model(team, spend):
    limit = make_limit(team, "tokens", "day", 10_000)
    counter = Counter.objects.create(limit=limit, period_start=NOON, ceiling=10_000)
    spend(request_id="fine")
    for request_id in ("over-1", "over-2"):
        charges = (Charge(counter.pk, 150, 30),)
        spend(request_id=request_id, flags=("usage_suspect", "beyond_bound"), charges=charges)
    look_at()
    alert = Alert.objects.get()
    assert (
        str(alert)
        == "Calls of team research to gpt-4o used more than they could have on 2026-03-10"
    )
    assert alert.says["data"]["requests"] == [
        {"request_id": request_id, "tokens": 150, "cost": "0.01", "excess": {"tokens": 30}}
        for request_id in ("over-1", "over-2")
    ]
    text = alert.says["text"]
    assert "over-1: 150 tokens, 0.01 USD (30 tokens more than was held)" in text
    spend(request_id="over-3", flags=("beyond_bound",))
    look_at()
    assert Alert.objects.count() == 1
    spend(request_id="over-4", flags=("beyond_bound",), requested_model="other")
    look_at()
    assert Alert.objects.count() == 2
    # Of a call that no limit held anything for, too.
    other = Alert.objects.exclude(pk=alert.pk).get()
    assert "over-4: 150 tokens, 0.01 USD\n" in other.says["text"]
