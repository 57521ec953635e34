import json

import pytest
from django.core.management import CommandError, call_command

from keys.issuing import issue_key
from keys.models import ApiKey
from keys.secrets import hash_secret, is_well_formed

pytestmark = pytest.mark.django_db


def test_create_key_prints_the_secret_alone(research, capsys):
    call_command("create_key", team="research", name="ci")
    secret = capsys.readouterr().out.strip()
    assert is_well_formed(secret)
    assert ApiKey.objects.get().secret_hash == hash_secret(secret)


def test_create_key_as_json_has_the_promised_fields(research, capsys):
    call_command("create_key", team="research", name="ci", json=True)
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"id", "name", "team", "secret", "prefix"}
    assert answer["team"] == "research"
    assert answer["secret"].startswith(answer["prefix"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"team": "reserch", "name": "ci"}, "Teams: research"),
        ({"team": "research", "name": ""}, "name:"),
        ({"team": "research", "name": "taken"}, "already has a live key"),
        ({"team": "research", "name": "ci", "expires_at": "tomorrow"}, "is no date"),
        ({"team": "research", "name": "ci", "expires_at": "2026-02-31"}, "is no date"),
        ({"team": "research", "name": "ci", "expires_at": "2020-01-01"}, "in the past"),
    ],
)
def test_a_mistake_is_told_in_one_line(research, options, words):
    issue_key(research, "taken")
    with pytest.raises(CommandError, match=words) as refused:
        call_command("create_key", **options)
    assert "\n" not in str(refused.value)


def test_a_day_is_included_in_the_teams_zone(research, capsys):
    call_command("create_key", team="research", name="ci", expires_at="2090-12-31")
    expires_at = ApiKey.objects.get().expires_at
    assert expires_at is not None
    assert expires_at.isoformat() == "2090-12-31T22:59:59.999999+00:00"


def test_revoke_key_revokes(research, capsys):
    key, _ = issue_key(research, "ci")
    call_command("revoke_key", str(key.pk))
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_revoking_again_keeps_the_moment(research, capsys):
    key, _ = issue_key(research, "ci")
    call_command("revoke_key", str(key.pk))
    key.refresh_from_db()
    first = key.revoked_at
    call_command("revoke_key", str(key.pk))
    key.refresh_from_db()
    assert key.revoked_at == first


def test_an_unknown_id_is_told(db):
    with pytest.raises(CommandError, match="no API key with the id 7"):
        call_command("revoke_key", "7")
