import pytest
from django.core.management import CommandError, call_command
from django.db.models import Sum

from billing.books import check_books
from billing.models import LedgerEntry, SpendTotal

pytestmark = pytest.mark.django_db(transaction=True)


def test_sample_rows_are_in_the_books():
    call_command("fill_demo", "--entries", "300", "--days", "40")
    call_command("fill_demo", "--entries", "5", "--days", "2")
    assert LedgerEntry.objects.filter(team="demo").count() == 305
    assert SpendTotal.objects.aggregate(Sum("requests"))["requests__sum"] == 305
    assert check_books(None, None) == []


def test_samples_are_varied_and_the_same_every_time():
    call_command("fill_demo", "--entries", "400", "--days", "10")
    call_command("fill_demo", "--entries", "400", "--days", "10")
    rows = LedgerEntry.objects.order_by("id").values_list("requested_model", "end_user", "status")
    assert list(rows[:400]) == list(rows[400:])
    assert len({model for model, _, _ in rows}) == 4
    assert {status for _, _, status in rows} == {"ok", "error", "cancelled"}


def test_nothing_to_fill_is_refused():
    with pytest.raises(CommandError):
        call_command("fill_demo", "--entries", "0", "--days", "1")
