from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from keys.accounts import create_administrator
from keys.issuing import issue_key, issue_staff_token, revoke_staff_token
from keys.models import ApiKey, Team, User
from keys.secrets import hash_secret

JSON = "application/json"


def _make_key(console: Client, team: Team, fields: dict[str, Any] | None = None):
    return console.post("/api/keys/", {"team": team.pk, "name": "ci"} | (fields or {}), JSON)


def test_a_new_keys_answer_holds_its_secret(console, research):
    response = _make_key(console, research)
    assert response.status_code == 201
    assert response.headers["Cache-Control"] == "no-store"
    assert ApiKey.objects.get().secret_hash == hash_secret(response.json()["secret"])


def test_no_other_answer_holds_it(console, research):
    made = _make_key(console, research).json()
    for path in ("/api/keys/", f"/api/keys/{made['id']}/"):
        answer = console.get(path).content.decode()
        assert "secret" not in answer
        assert ApiKey.objects.get().secret_hash not in answer


def test_a_key_is_revoked(console, research):
    key, _ = issue_key(research, "ci")
    response = console.post(f"/api/keys/{key.pk}/revoke/")
    assert response.json()["revoked_at"] is not None


def test_a_key_is_not_deleted(console, research):
    key, _ = issue_key(research, "ci")
    assert console.delete(f"/api/keys/{key.pk}/").status_code == 405


def test_a_revoked_key_is_not_edited(console, research):
    key, _ = issue_key(research, "ci")
    console.post(f"/api/keys/{key.pk}/revoke/")
    assert console.patch(f"/api/keys/{key.pk}/", {"name": "x"}, JSON).status_code == 400


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"allowed_ips": ["10.0.0.1/8"]}, "did you mean 10.0.0.0/8?"),
        ({"allowed_models": "gpt-4o"}, "are a list"),
        ({"tags": {"env": 1}}, "needs a name and a value"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "in the past"),
        ({"name": "Taken"}, "already has a live key"),
        ({"team": 999}, "999"),
    ],
)
def test_a_bad_field_is_explained(console, research, fields, words):
    issue_key(research, "taken")
    response = _make_key(console, research, fields)
    assert response.status_code == 400
    assert words in response.content.decode()


def test_a_key_is_not_renamed_onto_another(console, research):
    issue_key(research, "taken")
    key, _ = issue_key(research, "ci")
    response = console.patch(f"/api/keys/{key.pk}/", {"name": "taken"}, JSON)
    assert "already has a live key" in response.content.decode()


def test_a_mistyped_time_zone_is_suggested(console):
    response = console.post("/api/teams/", {"name": "t", "timezone": "Europe/Pariss"}, JSON)
    assert "did you mean Europe/Paris?" in response.content.decode()


@pytest.mark.parametrize("name", ["localtime", "Factory"])
def test_a_zone_that_hangs_on_the_host_or_means_nothing_is_refused(console, research, name):
    for answer in (
        console.post("/api/teams/", {"name": "t", "timezone": name}, JSON),
        console.patch(f"/api/teams/{research.pk}/", {"timezone": name}, JSON),
    ):
        assert answer.status_code == 400
        assert "is no IANA time zone" in answer.content.decode()
    assert name not in console.get("/admin/keys/team/add/").content.decode()


def test_a_team_in_such_a_zone_already_stays_there_until_another_is_chosen(console, research):
    Team.objects.update(timezone="localtime")
    page = console.get(f"/admin/keys/team/{research.pk}/change/").content.decode()
    assert '<option value="localtime" selected>' in page
    answer = console.patch(f"/api/teams/{research.pk}/", {"name": "renamed"}, JSON)
    assert answer.status_code == 200
    assert Team.objects.get().timezone == "localtime"


def test_a_team_with_keys_stays(console, research):
    issue_key(research, "ci")
    assert console.delete(f"/api/teams/{research.pk}/").status_code == 400
    assert Team.objects.exists()


def test_a_team_without_keys_goes(console, research):
    assert console.delete(f"/api/teams/{research.pk}/").status_code == 204


def test_a_new_user_gets_a_one_time_password(console):
    response = console.post("/api/users/", {"username": "grace"}, JSON)
    grace = User.objects.get(username="grace")
    assert grace.check_password(response.json()["one_time_password"])
    assert grace.must_change_password
    assert grace.is_superuser


def test_a_password_is_never_in_another_answer(console):
    assert "password" not in console.get("/api/users/").json()["results"][0]


@pytest.mark.parametrize("change", [{"administrator": False}, {"is_active": False}])
def test_the_last_administrator_cannot_step_down(console, administrator, change):
    response = console.patch(f"/api/users/{administrator.pk}/", change, JSON)
    assert "last administrator" in response.content.decode()
    administrator.refresh_from_db()
    assert administrator.is_superuser
    assert administrator.is_active


def test_the_last_administrator_cannot_be_deleted(console, administrator):
    assert console.delete(f"/api/users/{administrator.pk}/").status_code == 400
    assert User.objects.exists()


def test_one_of_two_administrators_can_step_down(console):
    grace, _ = create_administrator("grace")
    response = console.patch(f"/api/users/{grace.pk}/", {"administrator": False}, JSON)
    assert response.json()["administrator"] is False


def test_a_staff_token_signs_a_program_in(client, administrator):
    _, secret = issue_staff_token(administrator, "terraform")
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/teams/", headers=headers).status_code == 200


def test_a_revoked_staff_token_is_refused(client, administrator):
    token, secret = issue_staff_token(administrator, "terraform")
    revoke_staff_token(token, datetime.now(UTC))
    headers = {"Authorization": f"Bearer {secret}"}
    response = client.get("/api/teams/", headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_an_api_key_opens_no_management(client, research):
    _, secret = issue_key(research, "ci")
    headers = {"Authorization": f"Bearer {secret}"}
    assert client.get("/api/teams/", headers=headers).status_code == 401


def test_a_session_needs_the_csrf_token(administrator):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(administrator)
    assert browser.post("/api/teams/", {"name": "t"}, JSON).status_code == 403


@pytest.mark.parametrize("address", ["teams", "keys", "users"])
def test_only_administrators_manage(client, db, address):
    assert client.get(f"/api/{address}/").status_code == 401
    client.force_login(User.objects.create_user("dev", password=None))
    assert client.get(f"/api/{address}/").status_code == 403
