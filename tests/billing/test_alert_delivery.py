"""How alerts are told: by a real mail server and a real webhook receiver, each on its own."""

import base64
import hashlib
import hmac
import json
import re
import socket
from datetime import UTC, datetime, timedelta
from http.client import parse_headers
from threading import Barrier, Thread

import pytest
from django.db import connection

from billing.alert_delivery import deliver
from billing.alert_sweep import look
from billing.models import Alert
from gateway_project.alert_variables import webhook_key
from tests.alert_receivers import mail_server, webhook
from tests.billing.ledger_filling import call, fill
from tests.billing.limit_world import make_caller, make_limit, make_team
from tests.loopback import free_port

pytestmark = pytest.mark.django_db(transaction=True)

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a key of the receiver's own").decode()


def smtp(settings, port):
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
    settings.DEFAULT_FROM_EMAIL = "gateway@example.com"
    settings.ALERT_EMAILS = ["ops@example.com"]


@pytest.fixture
def box(settings):
    with mail_server() as box:
        smtp(settings, box.port)
        yield box


@pytest.fixture
def hook(settings):
    with webhook() as hook:
        settings.ALERT_WEBHOOK_URL = hook.url
        settings.ALERT_WEBHOOK_SECRET_KEY = webhook_key(SECRET)
        yield hook


@pytest.fixture
def crossed():
    """A budget of 5 dollars of which 4.10 are spent."""
    team = make_team(timezone="Europe/Paris")
    caller = make_caller(team)
    make_limit(team, "usd", "day", 5_000_000_000, soft=True, alert_at=[0.8])
    spent = call(
        team_id=caller.team_id, key_id=caller.key_id, started_at=NOON, cost_nano_usd=4_100_000_000
    )
    fill(spent)
    while look(NOON):
        pass
    return Alert.objects.get()


def sweep(*seconds):
    for later in seconds:
        deliver(NOON + timedelta(seconds=later))


def test_a_mail_says_who_how_much_and_until_when(box, crossed):
    sweep(0)
    (mail,) = box.mails
    title = "Team research has used 80 % of its budget of 5.00 USD per day"
    assert mail["subject"] == f"[gateway] {title}"
    text = mail.get_content()
    assert "Used: 4.10 USD of 5.00 USD (82 %)" in text
    assert "Resets: 2026-03-11 00:00 (Europe/Paris)" in text
    assert f"http://127.0.0.1:8000/admin/billing/limit/{crossed.says['data']['limit_id']}/" in text


def test_a_post_is_signed_in_both_ways(hook, crossed):
    sweep(0)
    (post,) = hook.posts
    assert post.path == "/hook?team=a"
    body, headers = post.body, post.headers
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    v1 = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{v1}"
    assert headers["webhook-timestamp"] == str(int(NOON.timestamp()))
    simple = hmac.new(key, body, hashlib.sha256).hexdigest()
    assert headers["x-gateway-signature"] == f"sha256={simple}"
    told = json.loads(body)
    assert told["type"] == "alert.limit"
    assert (told["data"]["used"], told["data"]["ceiling"]) == ("4.10", "5.00")
    assert told["data"]["share"] == "0.8"


def test_what_was_told_is_not_told_again(box, hook, crossed):
    sweep(0, 15, 30, 7200)
    assert (len(box.mails), len(hook.posts)) == (1, 1)
    crossed.refresh_from_db()
    assert crossed.mailed_at == crossed.posted_at == NOON
    assert crossed.next_try_at is None


def test_a_dead_mail_server_does_not_stop_the_webhook_and_gets_its_mail_later(
    settings, hook, crossed
):
    port = free_port()
    smtp(settings, port)
    sweep(0)
    assert len(hook.posts) == 1
    crossed.refresh_from_db()
    assert crossed.last_error == ("mail: the mail server cannot be reached: Connection refused")
    with mail_server(port) as box:
        sweep(1)
        assert box.mails == []
        sweep(60, 120)
        assert len(box.mails) == 1
    assert len(hook.posts) == 1
    crossed.refresh_from_db()
    assert (crossed.last_error, crossed.next_try_at) == ("", None)


def test_a_webhook_that_fails_does_not_stop_the_mail_and_is_asked_again_with_the_same_id(
    box, hook, crossed
):
    hook.status = 500
    sweep(0, 60)
    crossed.refresh_from_db()
    assert crossed.last_error == "webhook: answered 500"
    hook.status = 200
    sweep(600, 1200)
    assert len(box.mails) == 1
    assert len(hook.posts) == 3
    assert len({post.headers["webhook-id"] for post in hook.posts}) == 1
    assert len({post.headers["webhook-timestamp"] for post in hook.posts}) == 3


def test_a_mail_that_is_refused_for_now_keeps_its_message_id(box, crossed):
    box.refuse = "451 later"
    sweep(0)
    crossed.refresh_from_db()
    assert crossed.last_error == "mail: the mail server refused ops@example.com (451)"
    box.refuse = ""
    sweep(60)
    # As if the sweep had been killed before it could note that the mail was taken.
    Alert.objects.update(mailed_to=[], mailed_at=None, next_try_at=NOON)
    sweep(600)
    assert len(box.mails) == 2
    assert len({mail["message-id"] for mail in box.mails}) == 1


def test_an_address_that_is_refused_is_tried_again_and_nobody_gets_it_twice(box, settings, crossed):
    settings.ALERT_EMAILS = ["ops@example.com", "finance@example.com", "cfo@example.com"]
    box.refused = {"ops@example.com": "550 unknown", "cfo@example.com": "451 later"}
    sweep(0)
    assert box.recipients == [["finance@example.com"]]
    crossed.refresh_from_db()
    refused = "mail: the mail server refused ops@example.com (550), cfo@example.com (451)"
    assert (crossed.mailed_at, crossed.last_error) == (None, refused)
    del box.refused["cfo@example.com"]
    sweep(60)
    del box.refused["ops@example.com"]
    sweep(600, 1200)
    assert box.recipients == [["finance@example.com"], ["cfo@example.com"], ["ops@example.com"]]
    assert len({mail["message-id"] for mail in box.mails}) == 1
    assert {mail["to"] for mail in box.mails} == {", ".join(settings.ALERT_EMAILS)}
    crossed.refresh_from_db()
    assert crossed.mailed_at == NOON + timedelta(seconds=600)
    assert (crossed.last_error, crossed.next_try_at) == ("", None)


def test_an_address_that_is_refused_for_a_day_is_shown_as_failed(
    box, settings, crossed, admin_client
):
    settings.ALERT_EMAILS = ["ops@example.com", "finance@example.com"]
    box.refused = {"ops@example.com": "550 unknown"}
    for minutes in range(0, 30 * 60, 10):
        sweep(minutes * 60)
    assert box.recipients == [["finance@example.com"]]
    crossed.refresh_from_db()
    assert crossed.next_try_at is None
    page = admin_client.get("/admin/billing/alert/").content.decode()
    assert re.search(r">\s*failed for ops@example.com\s*<", page)
    assert "mail: the mail server refused ops@example.com (550)" in page
    (listed,) = admin_client.get("/api/alerts/").json()["results"]
    assert (listed["mailed_to"], listed["mailed_at"]) == (["finance@example.com"], None)

    box.refused = {}
    chosen = {"action": "send_again", "_selected_action": [str(crossed.pk)]}
    admin_client.post("/admin/billing/alert/", chosen)
    deliver(datetime.now(UTC))
    assert box.recipients == [["finance@example.com"], ["ops@example.com"]]


def test_a_refused_address_holds_up_no_other_alert(box, settings, crossed):
    team = make_team("second")
    make_limit(team, "requests", "day", 1, soft=True)
    caller = make_caller(team)
    fill(call(team_id=caller.team_id, key_id=caller.key_id, started_at=NOON))
    look(NOON)
    settings.ALERT_EMAILS = ["ops@example.com", "finance@example.com"]
    box.refused = {"ops@example.com": "550 unknown"}
    sweep(0)
    assert box.recipients == [["finance@example.com"]] * 2
    assert len({mail["message-id"] for mail in box.mails}) == 2


def test_a_connection_that_breaks_between_two_addresses_repeats_nothing(box, settings, crossed):
    settings.ALERT_EMAILS = ["ops@example.com", "finance@example.com"]
    box.refused = {"finance@example.com": "421 closing"}
    sweep(0)
    crossed.refresh_from_db()
    assert crossed.last_error == "mail: the mail server answered 421"
    box.refused = {}
    sweep(60, 120)
    assert box.recipients == [["ops@example.com"], ["finance@example.com"]]


@pytest.mark.parametrize(
    ("change", "hang_up", "says"),
    [
        ({"EMAIL_USE_TLS": True}, "", "the mail server offers no STARTTLS"),
        (
            {"EMAIL_HOST_USER": "me", "EMAIL_HOST_PASSWORD": "secret"},
            "",
            "the mail server offers no login",
        ),
        ({}, "MAIL", "the mail server closed the connection"),
        ({}, "EHLO", "the mail server closed the connection"),
        ({"EMAIL_USE_SSL": True}, "", "the mail server cannot be reached: TLS could not be agreed"),
        ({"EMAIL_HOST": "mail.invalid"}, "", "the mail server cannot be reached: "),
    ],
)
def test_what_is_wrong_with_a_mail_server_is_said_in_words(
    box, settings, crossed, change, hang_up, says
):
    box.hang_up = hang_up
    for name, value in change.items():
        setattr(settings, name, value)
    sweep(0)
    crossed.refresh_from_db()
    assert crossed.last_error.startswith(f"mail: {says}")
    assert "Error" not in crossed.last_error
    assert "Disconnected" not in crossed.last_error


def test_a_mail_server_that_never_answers_is_said_in_words(settings, crossed):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        smtp(settings, silent.getsockname()[1])
        settings.EMAIL_TIMEOUT = 0.2
        sweep(0)
    crossed.refresh_from_db()
    assert crossed.last_error == "mail: the mail server did not answer in time"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"", "no answer: the connection was closed"),
        (b"220 mail.example ready\r\n", "the answer is no HTTP"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_said_in_words(hook, settings, crossed, answer, says):
    with socket.create_server(("127.0.0.1", 0)) as odd:
        settings.ALERT_WEBHOOK_URL = f"http://127.0.0.1:{odd.getsockname()[1]}/"

        def one_answer():
            connection, _ = odd.accept()
            with connection, connection.makefile("rb") as asked:
                # Whole, body included: what closes on unread bytes resets the connection.
                asked.readline()
                asked.read(int(parse_headers(asked)["Content-Length"]))
                connection.sendall(answer)

        thread = Thread(target=one_answer)
        thread.start()
        sweep(0)
        thread.join()
    crossed.refresh_from_db()
    assert crossed.last_error == f"webhook: {says}"


def test_a_redirect_is_not_followed(hook, crossed):
    hook.status, hook.location = 307, f"http://127.0.0.1:{hook.port}/elsewhere"
    sweep(0)
    assert [post.path for post in hook.posts] == ["/hook?team=a"]
    crossed.refresh_from_db()
    assert crossed.last_error == "webhook: answered 307"


def test_after_a_day_it_is_given_up_and_shown_as_failed_until_it_is_sent_again(
    hook, crossed, admin_client
):
    hook.status = 503
    for minutes in range(0, 30 * 60, 10):
        sweep(minutes * 60)
    tries = len(hook.posts)
    crossed.refresh_from_db()
    assert crossed.next_try_at is None
    assert 24 <= tries <= 40
    page = admin_client.get("/admin/billing/alert/").content.decode()
    assert re.search(r">\s*failed\s*<", page)
    assert "webhook: answered 503" in page

    hook.status = 200
    chosen = {"action": "send_again", "_selected_action": [str(crossed.pk)]}
    answer = admin_client.post("/admin/billing/alert/", chosen, follow=True).content.decode()
    assert "1 of 1 will be sent again" in answer
    deliver(datetime.now(UTC))
    assert len(hook.posts) == tries + 1
    page = admin_client.get("/admin/billing/alert/").content.decode()
    assert "webhook: answered 503" not in page


def test_two_sweeps_at_once_send_once(box, hook, crossed):
    barrier = Barrier(4)

    def race():
        try:
            barrier.wait()
            sweep(0)
        finally:
            connection.close()

    threads = [Thread(target=race) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(box.mails), len(hook.posts)) == (1, 1)


def test_without_a_channel_alerts_are_only_shown(crossed, admin_client):
    sweep(0)
    crossed.refresh_from_db()
    assert (crossed.next_try_at, crossed.last_error) == (None, "")
    page = admin_client.get(f"/admin/billing/alert/{crossed.pk}/change/").content.decode()
    assert "Used: 4.10 USD of 5.00 USD" in page


def test_the_pages_change_nothing(crossed, admin_client):
    assert admin_client.get("/admin/billing/alert/add/").status_code == 403
    path = f"/admin/billing/alert/{crossed.pk}"
    assert admin_client.post(f"{path}/change/", {"attempts": 9}).status_code == 403
    assert admin_client.post(f"{path}/delete/", {"post": "yes"}).status_code == 403


def test_the_api_lists_alerts_and_takes_none(crossed, admin_client):
    (listed,) = admin_client.get("/api/alerts/").json()["results"]
    assert listed["title"] == "Team research has used 80 % of its budget of 5.00 USD per day"
    assert listed["details"]["used"] == "4.10"
    assert admin_client.post("/api/alerts/").status_code == 405
    assert admin_client.delete(f"/api/alerts/{crossed.pk}/").status_code == 405


def test_a_name_with_a_line_break_adds_no_header(box):
    team = make_team("a\r\nBcc: x@example.com")
    caller = make_caller(team)
    make_limit(team, "requests", "day", 1, soft=True)
    fill(call(team_id=caller.team_id, key_id=caller.key_id, started_at=NOON))
    look(NOON)
    sweep(0)
    (mail,) = box.mails
    assert "Bcc" not in mail
    assert mail["subject"].startswith("[gateway] Team a  Bcc: x@example.com has used")
