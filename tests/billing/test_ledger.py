from datetime import date

import pytest
from django.db import connection
from django.db.models import Sum

from billing.ledger import post
from billing.models import (
    Counter,
    EntryChangedError,
    Holding,
    LabelTotal,
    LedgerEntry,
    SpendTotal,
)
from billing.totals import LATENCY_BUCKETS_MS, bucket_of
from tests.billing.ledger_samples import (
    NOON,
    charge,
    entry,
    held,
    hold,
    make_counter,
    make_key,
    make_team,
    make_worker,
    many,
    taken,
)

pytestmark = pytest.mark.django_db


def test_an_entry_is_stored_as_it_is():
    given = entry(tags={"env": "prod"}, flags=("usage_suspect",), end_user="zoé")
    post([given], worker_id=None)
    row = LedgerEntry.objects.get()
    assert row.tags == {"env": "prod"}
    assert row.flags == ["usage_suspect"]
    assert row.end_user == "zoé"
    assert row.started_at == NOON
    assert row.cost_nano_usd == 450_000
    assert row.timezone == "Europe/Paris"


def test_posting_twice_moves_nothing_twice_G4():
    post(many(3), worker_id=None)
    again = post(many(4), worker_id=None)
    assert [row.request_id for row in again.entries] == ["req-3"]
    assert LedgerEntry.objects.count() == 4
    assert SpendTotal.objects.aggregate(Sum("requests"))["requests__sum"] == 4


def test_totals_add_up_over_batches():
    post([entry("a", latency_ms=9), entry("b", latency_ms=9)], worker_id=None)
    post([entry("c", latency_ms=10**6, cost_nano_usd=None)], worker_id=None)
    total = SpendTotal.objects.get()
    assert (total.requests, total.input_tokens, total.cost_nano_usd) == (3, 300, 900_000)
    assert total.unpriced_entries == 1
    assert total.latency_histogram[bucket_of(9)] == 2
    assert total.latency_histogram[-1] == 1
    assert len(total.latency_histogram) == len(LATENCY_BUCKETS_MS) + 1


def test_a_further_entry_of_a_request_is_no_further_request():
    post([entry(), entry(entry=1)], worker_id=None)
    total = SpendTotal.objects.get()
    assert (total.requests, total.cost_nano_usd) == (1, 900_000)
    assert sum(total.latency_histogram) == 1


def test_end_users_and_tags_are_summed_by_day_of_the_entrys_zone():
    late = NOON.replace(hour=23, minute=30)  # the next day in Paris
    post([entry(started_at=late, end_user="u1", tags={"env": "prod"})], worker_id=None)
    labels = {(row.kind, row.label): row for row in LabelTotal.objects.all()}
    assert set(labels) == {("end_user", "u1"), ("tag", "env=prod")}
    assert {row.day for row in labels.values()} == {date(2026, 3, 11)}
    assert labels["tag", "env=prod"].cost_nano_usd == 450_000


def test_a_charge_lowers_the_holding_and_excess_raises_the_counter():
    team, worker = make_team(), make_worker()
    counter = make_counter(team, "usd")
    hold(counter, worker, 1_000_000)
    charged = entry(team_id=team.id, charges=(charge(counter, 450_000, excess=50_000),))
    post([charged], worker_id=worker.id)
    assert held(counter) == 600_000
    assert taken(counter) == 1_050_000


def test_posting_a_charged_entry_again_lowers_nothing():
    team, worker = make_team(), make_worker()
    counter = make_counter(team, "usd")
    hold(counter, worker, 1_000_000)
    charged = entry(team_id=team.id, charges=(charge(counter, 450_000),))
    post([charged], worker_id=worker.id)
    post([charged], worker_id=worker.id)
    assert (held(counter), taken(counter)) == (550_000, 1_000_000)


def test_F35_a_worker_goes_on_beside_the_columns_that_a_newer_release_has_added():
    with connection.cursor() as cursor:
        for model in (LedgerEntry, SpendTotal, LabelTotal, Counter, Holding):
            cursor.execute(f"ALTER TABLE {model._meta.db_table} ADD COLUMN later integer NULL")
    team, worker = make_team(), make_worker()
    counter = make_counter(team, "usd")
    hold(counter, worker, 1_000_000)
    charged = entry(team_id=team.id, end_user="u1", charges=(charge(counter, 450_000),))
    post([charged], worker_id=worker.id)
    post([charged], worker_id=worker.id)
    assert (held(counter), taken(counter)) == (550_000, 1_000_000)
    assert LedgerEntry.objects.get().cost_nano_usd == 450_000
    assert SpendTotal.objects.get().cost_nano_usd == LabelTotal.objects.get().cost_nano_usd


def test_a_holding_smaller_than_the_charge_leaves_the_books_equal():
    team, worker = make_team(), make_worker()
    counter = make_counter(team, "usd")
    hold(counter, worker, 100_000)
    charged = entry(team_id=team.id, charges=(charge(counter, 450_000),))
    post([charged], worker_id=worker.id)
    assert (held(counter), taken(counter)) == (0, 450_000)


def test_a_counter_that_the_call_did_not_know_is_charged_too():
    team = make_team()
    key = make_key(team)
    month = make_counter(team, "requests")
    of_key = make_counter(team, "tokens", per="key", subject=str(key.id))
    of_its_limit = make_counter(team, "usd", key=key, subject=str(key.id))
    of_other_key = make_counter(team, "tokens", per="key", subject="999999")
    of_end_user = make_counter(team, "usd", per="end_user", subject="u1")
    post([entry(team_id=team.id, key_id=key.id, end_user="u1")], worker_id=None)
    counters = (month, of_key, of_its_limit, of_other_key, of_end_user)
    assert [taken(counter) for counter in counters] == [1, 120, 450_000, 0, 450_000]


def test_a_counter_of_another_period_team_or_key_is_left_alone():
    team, other = make_team(), make_team("other")
    key = make_key(team)
    counters = [
        make_counter(team, "requests"),
        make_counter(other, "requests"),
        make_counter(team, "requests", key=key, subject=str(key.id)),
        make_counter(team, "concurrent"),
    ]
    before = entry(team_id=team.id, key_id=key.id + 1, started_at=NOON.replace(month=2))
    post([before], worker_id=None)
    assert [taken(counter) for counter in counters] == [0, 0, 0, 0]
    post([entry(team_id=team.id, key_id=key.id + 1)], worker_id=None)
    assert [taken(counter) for counter in counters] == [1, 0, 0, 0]


def test_a_charge_on_a_counter_that_is_gone_loses_no_row():
    team, worker = make_team(), make_worker()
    counter = make_counter(team, "usd")
    charged = entry(team_id=team.id, charges=(charge(counter, 450_000),))
    counter.limit.delete()
    assert len(post([charged], worker_id=worker.id).entries) == 1


def test_text_that_no_column_takes_is_replaced_and_flagged():
    strange = entry(
        end_user="a\0b\ud800" + "x" * 500, tags={"k\0": "\ud800"}, requested_model="m" * 900
    )
    post([strange, entry("fine")], worker_id=None)
    row = LedgerEntry.objects.get(request_id="req-0")
    assert row.end_user.startswith("a\ufffdb\ufffd")
    assert len(row.end_user) == 256
    assert "sanitized" in row.flags
    assert row.cost_nano_usd == 450_000
    assert LedgerEntry.objects.get(request_id="fine").flags == []


def test_a_figure_beyond_its_column_is_clamped_and_flagged():
    post([entry(input_tokens=2**80, latency_ms=2**40, cost_nano_usd=2**70)], worker_id=None)
    row = LedgerEntry.objects.get()
    assert row.input_tokens == 1_000_000_000
    assert "sanitized" in row.flags


def test_a_row_the_database_refuses_never_loses_its_neighbours():
    bad = entry("bad", entry=2**70)
    posted = post([*many(4), bad, *[entry(f"after-{n}") for n in range(3)]], worker_id=None)
    assert len(posted.entries) == 7
    assert [rejected.request_id for rejected in posted.rejected] == ["bad"]
    assert SpendTotal.objects.aggregate(Sum("requests"))["requests__sum"] == 7


def test_entries_are_never_changed_or_deleted():
    post([entry()], worker_id=None)
    row = LedgerEntry.objects.get()
    row.cost_nano_usd = 0
    with pytest.raises(EntryChangedError):
        row.save()
    with pytest.raises(EntryChangedError):
        row.delete()
    with pytest.raises(EntryChangedError):
        LedgerEntry.objects.update(cost_nano_usd=0)
    with pytest.raises(EntryChangedError):
        LedgerEntry.objects.filter(team_id=1).delete()


def test_a_correction_may_take_back_and_nothing_else_may():
    team, correction = make_team(), "correction"
    post([entry("a", team_id=team.id, cost_nano_usd=-7)], worker_id=None)
    post([entry("b", team_id=team.id), entry("b", entry=1, status=correction, input_tokens=0,
          output_tokens=0, cost_nano_usd=-50_000, team_id=team.id)], worker_id=None)  # fmt: skip
    rows = {(row.request_id, row.entry): row for row in LedgerEntry.objects.all()}
    assert (rows["a", 0].cost_nano_usd, rows["a", 0].flags) == (0, ["sanitized"])
    assert (rows["b", 1].cost_nano_usd, rows["b", 1].flags) == (-50_000, [])
    assert SpendTotal.objects.aggregate(Sum("cost_nano_usd"))["cost_nano_usd__sum"] == 400_000
