"""However many alerts one limit finds, it sends ten messages an hour at most."""

from datetime import UTC, datetime, timedelta

import pytest

from billing.alert_delivery import deliver
from billing.alert_sweep import look
from billing.models import Alert, Limit
from gateway_project.alert_variables import webhook_key
from tests.alert_receivers import mail_server, webhook
from tests.billing.ledger_filling import call, fill
from tests.billing.limit_world import make_limit

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def limit(team) -> Limit:
    return make_limit(team, "requests", "minute", 1, per="end_user", soft=True)


@pytest.fixture
def box(settings):
    with mail_server() as box:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", box.port
        settings.ALERT_EMAILS = ["ops@example.com"]
        yield box


@pytest.fixture
def hook(settings):
    with webhook() as hook:
        settings.ALERT_WEBHOOK_URL = hook.url
        settings.ALERT_WEBHOOK_SECRET_KEY = webhook_key("a secret of ours")
        yield hook


@pytest.fixture
def sweep(caller):
    """What happens at a moment: these end users call, and the sweep comes by."""

    def at(now, *users):
        of = {"team_id": caller.team_id, "key_id": caller.key_id, "started_at": now}
        fill(*(call(**of, end_user=user) for user in users))
        while look(now):
            pass
        deliver(now)

    return at


def users(count):
    return [f"user-{number:03}" for number in range(count)]


def test_six_are_told_one_by_one_and_the_rest_together(limit, box, hook, sweep):
    sweep(NOON, *users(100))
    assert (len(box.mails), len(hook.posts)) == (6, 6)
    sweep(NOON + timedelta(minutes=15))
    assert (len(box.mails), len(hook.posts)) == (7, 7)
    summary = box.mails[-1]
    assert str(summary["subject"]).endswith(", and 93 more such alerts")
    text = summary.get_content()
    assert text.count("has used 100 % of its limit of 1 request per minute") == 50
    assert "and 44 more" in text
    assert b'"type":"alert.limit_summary"' in hook.posts[-1].body
    assert b'"count":94' in hook.posts[-1].body


def test_each_is_recorded_all_the_same_and_the_console_says_how_it_was_told(
    limit, sweep, admin_client
):
    sweep(NOON, *users(9))
    assert Alert.objects.filter(kind="limit").count() == 9
    summary = Alert.objects.get(kind="limit_summary")
    assert Alert.objects.filter(told_by=summary).count() == 3
    page = admin_client.get(f"/admin/billing/alert/?told_by__id__exact={summary.pk}")
    assert page.context["cl"].result_count == 3
    assert "in a summary" in page.content.decode()
    sent = admin_client.get("/admin/billing/alert/?message=own")
    assert sent.context["cl"].result_count == 7


def test_an_hour_of_it_is_ten_messages(limit, box, sweep):
    for minute in range(75):
        sweep(NOON + timedelta(minutes=minute), *users(5))
        if minute == 59:
            assert len(box.mails) <= 10
    # The last summary still collects.
    assert Alert.objects.filter(kind="limit").count() == 75 * 5
    collecting = Alert.objects.get(kind="limit_summary", attempts=0)
    told = sum(
        alert.says["data"]["count"]
        for alert in Alert.objects.filter(kind="limit_summary").exclude(pk=collecting.pk)
    )
    alone = Alert.objects.filter(kind="limit", told_by=None).count()
    assert alone + told + collecting.says["data"]["count"] == 75 * 5


def test_what_comes_while_a_summary_collects_is_in_it(limit, box, sweep):
    sweep(NOON, *users(8))
    sweep(NOON + timedelta(minutes=5), *users(2))
    sweep(NOON + timedelta(minutes=15))
    assert len(box.mails) == 7
    assert str(box.mails[-1]["subject"]).endswith(", and 3 more such alerts")


def test_what_comes_after_a_summary_was_tried_is_in_the_next(limit, box, sweep):
    sweep(NOON, *users(8))
    box.refuse = "451 later"
    sweep(NOON + timedelta(minutes=15))
    sweep(NOON + timedelta(minutes=16), *users(2))
    counts = [
        alert.says["data"]["count"]
        for alert in Alert.objects.filter(kind="limit_summary").order_by("created_at")
    ]
    assert counts == [2, 2]


def test_one_noisy_limit_silences_no_other(limit, team, box, sweep):
    sweep(NOON, *users(100))
    make_limit(team, "requests", "month", 101, alert_at=[1.0])
    sweep(NOON + timedelta(minutes=1), "one more")
    last = str(box.mails[-1]["subject"])
    assert last == "[gateway] Team research has used 100 % of its limit of 101 requests per month"


def test_a_summary_is_told_once(limit, box, sweep):
    sweep(NOON, *users(9))
    for minutes in (15, 16, 40, 90):
        sweep(NOON + timedelta(minutes=minutes))
    assert len(box.mails) == 7
