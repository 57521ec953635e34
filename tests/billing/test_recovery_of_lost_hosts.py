import pytest
from django.core.management import CommandError, call_command

from billing.books import check_books
from billing.lost_hosts import give_up
from billing.models import Holding, LedgerEntry, Worker
from billing.workers import host_of
from tests.billing.ledger_samples import (
    NOON,
    hold,
    make_counter,
    make_key,
    make_team,
    make_worker,
    taken,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_dollars_and_tokens_of_a_lost_host_stay_counted_and_the_rest_lapses(tmp_path):
    team, worker = make_team(), make_worker(host="gone/01")
    counters = [make_counter(team, unit) for unit in ("usd", "tokens", "requests", "concurrent")]
    for counter in counters:
        hold(counter, worker, 700)
    (posted,) = give_up("gone", tmp_path)
    assert [taken(counter) for counter in counters] == [700, 700, 0, 0]
    assert (posted.status, posted.cost_nano_usd, posted.input_tokens) == ("recovered", 700, 700)
    assert not Holding.objects.exists()
    assert not Worker.objects.exists()
    assert check_books(None, None) == []


def test_the_least_holding_bounds_what_was_spent(tmp_path):
    team, worker = make_team(), make_worker(host="gone/01")
    month, other_month = make_counter(team, "usd"), make_counter(team, "usd")
    hold(month, worker, 700)
    hold(other_month, worker, 300)
    give_up("gone/01", tmp_path)
    assert (taken(month), taken(other_month)) == (300, 300)
    assert check_books(None, None) == []


def test_a_keys_part_is_posted_as_the_keys(tmp_path):
    team, worker = make_team(), make_worker(host="gone/01")
    key = make_key(team)
    of_team = make_counter(team, "usd")
    of_key = make_counter(team, "usd", per="key", subject=str(key.id))
    hold(of_team, worker, 700)
    hold(of_key, worker, 300)
    give_up("gone", tmp_path)
    by_key = dict(LedgerEntry.objects.values_list("key_id", "cost_nano_usd"))
    assert by_key == {key.id: 300, 0: 400}
    assert (taken(of_team), taken(of_key)) == (700, 300)
    assert check_books(None, None) == []


def test_a_period_that_was_over_before_lapses(tmp_path):
    team, worker = make_team(), make_worker(host="gone/01")
    counter = make_counter(team, "usd")
    counter.period_end = NOON.replace(day=2)
    counter.save()
    hold(counter, worker, 700)
    assert give_up("gone", tmp_path) == []
    assert taken(counter) == 0


def test_our_own_folder_is_never_given_up(tmp_path):
    worker = make_worker(host=host_of(tmp_path))
    assert give_up(host_of(tmp_path), tmp_path) == []
    assert give_up(host_of(tmp_path).split("/")[0], tmp_path) == []
    assert Worker.objects.get() == worker


def test_the_command_says_what_it_did_and_what_it_left(settings, tmp_path, capsys):
    settings.JOURNAL_DIR = tmp_path
    hold(make_counter(make_team(), "usd"), make_worker("w1", "gone/01"), 1_500_000_000)
    make_worker("w2", "alive/02")
    make_worker("w3", host_of(tmp_path))
    call_command("recover_journal", "--lost", "gone")
    said = capsys.readouterr().out
    assert "1 dead workers" in said
    assert "1.500000000 USD" in said
    assert "worker w2 of alive/02" in said
    assert list(Worker.objects.values_list("name", flat=True)) == ["w2"]


def test_a_mistyped_host_is_not_taken_for_a_lost_one():
    with pytest.raises(CommandError, match="no worker of a host typo elsewhere"):
        call_command("recover_journal", "--lost", "typo")
