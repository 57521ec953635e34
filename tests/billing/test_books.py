import threading
from datetime import date, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from billing.books import check_books
from billing.ledger import post
from billing.models import Counter, LabelTotal, SpendTotal
from tests.billing.ledger_samples import (
    NOON,
    charge,
    entry,
    hold,
    make_counter,
    make_key,
    make_team,
    make_worker,
    many,
)

pytestmark = pytest.mark.django_db(transaction=True)
DAY = date(2026, 3, 10)


@pytest.fixture
def counter():
    """A team's month in dollars, with calls posted and more held."""
    team, worker = make_team(), make_worker()
    key = make_key(team)
    month = make_counter(team, "usd")
    make_counter(team, "tokens", per="key", subject=str(key.id))
    hold(month, worker, 10**9)
    given = many(
        30,
        team_id=team.id,
        key_id=key.id,
        end_user="=u1",
        tags={"a": "b\r\nc"},
        charges=(charge(month, 450_000),),
    )
    unpriced = entry("unpriced", team_id=team.id, cost_nano_usd=None, end_user="u2", status="error")
    post([*given, unpriced], worker_id=worker.id)
    return month


def test_books_that_were_posted_agree(counter):
    assert check_books(None, None) == []
    assert check_books(DAY, DAY) == []


def test_empty_books_agree():
    assert check_books(None, None) == []


def test_a_total_that_differs_is_named(counter):
    SpendTotal.objects.filter(requests=30).update(cost_nano_usd=1)
    (difference,) = check_books(DAY, DAY)
    assert (difference.ledger, difference.found) == (30 * 450_000, 1)
    assert "cost_nano_usd" in difference.what


def test_a_total_without_entries_is_named(counter):
    SpendTotal.objects.create(
        quarter=NOON, team_id=9, key_id=9, model="x", status="ok", requests=0, cost_nano_usd=7
    )
    assert [difference.found for difference in check_books(DAY, DAY)] == [7]


def test_a_histogram_that_lacks_a_call_is_named(counter):
    SpendTotal.objects.filter(requests=30).update(latency_histogram=[1])
    assert [difference.found for difference in check_books(DAY, DAY)] == [1]


def test_a_label_that_differs_is_named(counter):
    LabelTotal.objects.filter(label="=u1").delete()
    assert {difference.ledger for difference in check_books(DAY, DAY)} >= {30, 30 * 450_000}


def test_a_counter_that_differs_is_named(counter):
    Counter.objects.filter(id=counter.id).update(taken=counter.taken + 1)
    (difference,) = check_books(None, None)
    assert f"counter {counter.id}" in difference.what


def test_days_outside_the_range_are_not_compared(counter):
    SpendTotal.objects.update(cost_nano_usd=1)
    later = DAY + timedelta(days=1)
    assert check_books(later, later) == []


def test_a_day_of_a_far_zone_is_compared_whole():
    for zone, hour in (("Pacific/Kiritimati", 10), ("Etc/GMT+12", 12)):
        for minute in (0, 59):
            at = NOON.replace(hour=hour - (minute == 0), minute=minute)
            post(
                [entry(f"{zone}{minute}", started_at=at, timezone=zone, end_user="u")],
                worker_id=None,
            )
    for days in range(-2, 3):
        day = DAY + timedelta(days=days)
        assert check_books(day, day) == []


def test_books_agree_at_every_moment_while_calls_are_posted(counter):
    team_id = counter.limit.team_id
    stop = threading.Event()

    def keep_posting() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            charged = entry(f"live-{number}", team_id=team_id, charges=(charge(counter, 450_000),))
            post([charged], worker_id=counter.holdings.get().worker_id)
        connection.close()

    posting = threading.Thread(target=keep_posting)
    posting.start()
    try:
        found = [difference for _ in range(20) for difference in check_books(DAY, DAY)]
    finally:
        stop.set()
        posting.join()
    assert found == []


def test_the_command_prints_differences_and_fails(counter, capsys):
    call_command("check_books")
    assert "agree" in capsys.readouterr().out
    Counter.objects.filter(id=counter.id).update(taken=0)
    with pytest.raises(CommandError):
        call_command("check_books", "--from", "2026-03-01", "--to", "2026-03-31")
    assert "by the ledger" in capsys.readouterr().out


def test_days_in_the_wrong_order_are_refused():
    with pytest.raises(CommandError, match="from must not be after to"):
        call_command("check_books", "--from", "2026-03-31", "--to", "2026-03-01")
