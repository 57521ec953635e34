"""EMAIL_URL, ALERT_EMAILS, ALERT_WEBHOOK_URL and ALERT_WEBHOOK_SECRET."""

import os
import subprocess
import sys

import pytest

from gateway_project.environment import PROJECT_DIR, BadVariableError, read_environment

MAIL = {"EMAIL_URL": "smtp://mail.example"}
HOOK = {"ALERT_WEBHOOK_URL": "https://hook.example/a", "ALERT_WEBHOOK_SECRET": "a secret of ours"}


def test_alerts_go_nowhere_by_default():
    environment = read_environment({})
    assert environment.mail_server is None
    assert environment.alert_emails == ()
    assert environment.alert_webhook_url == ""


@pytest.mark.parametrize(
    ("url", "port", "starttls", "ssl"),
    [
        ("smtp://mail.example", 25, False, False),
        ("smtp://mail.example:2525", 2525, False, False),
        ("smtp+tls://mail.example", 587, True, False),
        ("smtps://mail.example", 465, False, True),
        ("smtp+ssl://mail.example:4650", 4650, False, True),
    ],
)
def test_the_scheme_says_how_the_mail_server_is_spoken_to(url, port, starttls, ssl):
    server = read_environment({"EMAIL_URL": url}).mail_server
    assert server is not None
    assert (server.host, server.port) == ("mail.example", port)
    assert (server.starttls, server.ssl) == (starttls, ssl)


def test_user_password_and_sender_are_decoded():
    url = "smtp://me%40example.com:p%40ss%2Fw@mail.example:25?from=alerts%2Bgateway@example.com"
    server = read_environment({"EMAIL_URL": url}).mail_server
    assert server is not None
    assert (server.user, server.password) == ("me@example.com", "p@ss/w")
    assert server.sender == "alerts+gateway@example.com"


def test_addresses_are_split_at_commas():
    given = {**MAIL, "ALERT_EMAILS": "ops@example.com, finance@example.com,ops@example.com"}
    assert read_environment(given).alert_emails == ("ops@example.com", "finance@example.com")


def test_the_signing_key_is_base64_behind_whsec_and_else_the_text():
    assert read_environment(HOOK).alert_webhook_key == b"a secret of ours"
    encoded = {**HOOK, "ALERT_WEBHOOK_SECRET": "whsec_c2l4dGVlbiBieXRlcyBvaw=="}
    assert read_environment(encoded).alert_webhook_key == b"sixteen bytes ok"


@pytest.mark.parametrize(
    ("variables", "refusal"),
    [
        ({"EMAIL_URL": "http://mail.example"}, "EMAIL_URL: must begin with smtp://"),
        ({"EMAIL_URL": "smtp://"}, "EMAIL_URL: must be like"),
        ({"EMAIL_URL": "smtp://mail.example/inbox"}, "EMAIL_URL: must be like"),
        ({"EMAIL_URL": "smtp://mail.example:port"}, "EMAIL_URL: is not a URL"),
        ({"EMAIL_URL": "smtp://mail.example?tls=1"}, "EMAIL_URL: knows no option"),
        ({"EMAIL_URL": "smtp://mail.example?from=me"}, "EMAIL_URL: 'me' is not a mail address"),
        ({**MAIL, "ALERT_EMAILS": "ops"}, "ALERT_EMAILS: 'ops' is not a mail address"),
        ({"ALERT_EMAILS": "ops@example.com"}, "EMAIL_URL: must be given once ALERT_EMAILS"),
        ({**HOOK, "ALERT_WEBHOOK_URL": "ftp://hook"}, "ALERT_WEBHOOK_URL: must begin with http"),
        ({**HOOK, "ALERT_WEBHOOK_URL": "http://a:b@hook"}, "ALERT_WEBHOOK_URL: may hold no user"),
        ({**HOOK, "ALERT_WEBHOOK_SECRET": ""}, "ALERT_WEBHOOK_SECRET: must be given with"),
        ({**HOOK, "ALERT_WEBHOOK_SECRET": "a secret of our"}, "ALERT_WEBHOOK_SECRET: must have at"),
        ({**HOOK, "ALERT_WEBHOOK_SECRET": "whsec_aGVsbG8="}, "ALERT_WEBHOOK_SECRET: must encode"),
        ({**HOOK, "ALERT_WEBHOOK_SECRET": "whsec_?"}, "ALERT_WEBHOOK_SECRET: begins with whsec_"),
    ],
)
def test_a_bad_value_is_refused_in_one_line_that_names_it(variables, refusal):
    with pytest.raises(BadVariableError) as error:
        read_environment(variables)
    assert str(error.value).startswith(refusal)
    assert "\n" not in str(error.value)


def test_a_password_is_never_repeated():
    with pytest.raises(BadVariableError) as error:
        read_environment({"EMAIL_URL": "smtp://me:hunter2@mail.example:x"})
    assert "hunter2" not in str(error.value)


def test_they_become_djangos_settings(tmp_path):
    url = "smtp+tls://me:secret@mail.example?from=alerts@example.com"
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_USE_TLS", "DEFAULT_FROM_EMAIL")
    program = f"from django.conf import settings as s; print(*(getattr(s, n) for n in {names}))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT_DIR,
        env={
            **os.environ,
            "EMAIL_URL": url,
            "DATA_DIR": str(tmp_path),
            "DJANGO_SETTINGS_MODULE": "gateway_project.settings",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["mail.example", "587", "me", "True", "alerts@example.com"]
