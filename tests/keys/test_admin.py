import re

import pytest
from django.test import Client

from keys.accounts import create_administrator
from keys.issuing import issue_key, issue_staff_token
from keys.models import ApiKey, StaffToken, Team, User
from keys.secrets import hash_secret, is_well_formed
from routing.models import Model

KEYS = "/admin/keys/apikey/"


def _key_form(team: Team, **changed: str) -> dict[str, str]:
    form = {"team": str(team.pk), "name": "ci", "expires_at_0": "", "expires_at_1": ""}
    return {**form, "allowed_models": "", "allowed_ips": "", "tags": "", **changed}


def _add_key(console: Client, team: Team, **changed: str):
    path = f"{KEYS}add/"
    return console.post(path, with_inlines(console, path, _key_form(team, **changed)))


def _shown(response) -> str:
    found = re.search(r'<code id="secret"[^>]*>([^<]+)<', response.content.decode())
    assert found
    return found.group(1)


def test_a_new_keys_secret_is_shown_in_the_answer(console, research):
    response = _add_key(console, research)
    secret = _shown(response)
    assert is_well_formed(secret)
    assert ApiKey.objects.get().secret_hash == hash_secret(secret)
    assert "no-store" in response.headers["Cache-Control"]


def test_the_secret_is_shown_only_once(console, research):
    secret = _shown(_add_key(console, research))
    key = ApiKey.objects.get()
    for path in (KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/"):
        assert secret not in console.get(path).content.decode()


def test_the_secret_page_holds_no_inline_script(console, research):
    page = _add_key(console, research).content.decode()
    assert "keys/copy.js" in page
    assert 'data-copy="secret"' in page


def test_sending_the_form_again_makes_no_second_key(console, research):
    _add_key(console, research)
    response = _add_key(console, research)
    assert "already has a live key" in response.content.decode()
    assert ApiKey.objects.count() == 1


def test_lists_and_tags_are_typed_as_lines(console, research):
    _add_key(
        console,
        research,
        allowed_models="gpt-4o\nclaude-*",
        allowed_ips="10.0.0.0/8, 192.0.2.7",
        tags="env = prod\nproject=alpha",
    )
    key = ApiKey.objects.get()
    assert key.allowed_models == ["gpt-4o", "claude-*"]
    assert key.allowed_ips == ["10.0.0.0/8", "192.0.2.7"]
    assert key.tags == {"env": "prod", "project": "alpha"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"allowed_ips": "10.0.0.300"}, "is no address or network"),
        ({"allowed_ips": "10.0.0.1/8"}, "did you mean 10.0.0.0/8?"),
        ({"tags": "prod"}, "write name=value"),
        ({"allowed_models": "gpt 4o"}, "is no model name"),
        ({"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}, "in the past"),
    ],
)
def test_a_mistyped_field_is_explained(console, research, changed, words):
    assert words in _add_key(console, research, **changed).content.decode()
    assert not ApiKey.objects.exists()


def test_an_unknown_model_is_hinted_at(console, research):
    Model.objects.create(name="gpt-4o")
    response = _add_key(console, research, allowed_models="gpt-40")
    assert "Did you mean “gpt-4o”?" in response.content.decode()


def test_a_key_is_revoked_by_its_button(console, research):
    key, _ = issue_key(research, "ci")
    assert f"/{key.pk}/revoke" in console.get(f"{KEYS}{key.pk}/change/").content.decode()
    console.post(_revoke_address(key))
    key.refresh_from_db()
    assert key.revoked_at is not None


def test_looking_at_the_button_revokes_nothing(console, research):
    key, _ = issue_key(research, "ci")
    assert console.get(_revoke_address(key)).status_code == 200
    key.refresh_from_db()
    assert key.revoked_at is None


def test_many_keys_are_revoked_at_once(console, research):
    keys = [issue_key(research, name)[0] for name in ("a", "b")]
    form = {"action": "revoke_selected", "_selected_action": [str(key.pk) for key in keys]}
    console.post(KEYS, form)
    assert not ApiKey.objects.filter(revoked_at=None).exists()


def test_a_revoked_key_stays_in_the_list_and_cannot_be_edited(console, research):
    key, _ = issue_key(research, "ci")
    console.post(_revoke_address(key))
    assert "revoked" in console.get(KEYS).content.decode()
    response = console.post(f"{KEYS}{key.pk}/change/", _key_form(research, name="other"))
    assert response.status_code == 403


def test_a_key_is_never_deleted(console, research):
    key, _ = issue_key(research, "ci")
    assert console.post(f"{KEYS}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    form = {"action": "delete_selected", "_selected_action": [str(key.pk)], "post": "yes"}
    console.post(KEYS, form)
    assert ApiKey.objects.count() == 1


def test_a_team_is_made_in_its_time_zone(console):
    form = {"name": "platform", "timezone": "Asia/Tokyo", "allowed_models": ""}
    console.post("/admin/keys/team/add/", with_inlines(console, "/admin/keys/team/add/", form))
    team = Team.objects.get()
    assert (team.timezone, team.allowed_models) == ("Asia/Tokyo", None)


def test_a_team_with_keys_stays(console, research):
    issue_key(research, "ci")
    path = f"/admin/keys/team/{research.pk}/delete/"
    assert console.post(path, {"post": "yes"}).status_code == 403


def test_a_new_user_gets_a_one_time_password(console):
    form = {"username": "grace", "is_superuser": "on", "is_active": "on"}
    password = _shown(console.post("/admin/keys/user/add/", form))
    grace = User.objects.get(username="grace")
    assert grace.must_change_password
    assert grace.check_password(password)
    assert grace.is_staff


def test_a_reset_password_ends_the_old_one(console):
    grace, old = create_administrator("grace")
    new = _shown(console.post(f"/admin/keys/user/{grace.pk}/reset-password/"))
    grace.refresh_from_db()
    assert grace.check_password(new)
    assert not grace.check_password(str(old))


@pytest.mark.parametrize("role", [{"is_active": "on"}, {"is_superuser": "on"}])
def test_the_last_administrator_cannot_step_down(console, administrator, role):
    path = f"/admin/keys/user/{administrator.pk}/change/"
    response = console.post(path, {"username": "ada", **role})
    assert "last administrator" in response.content.decode()
    administrator.refresh_from_db()
    assert administrator.is_superuser
    assert administrator.is_active


def test_the_last_administrator_cannot_be_deleted(console, administrator):
    path = f"/admin/keys/user/{administrator.pk}/delete/"
    assert console.post(path, {"post": "yes"}).status_code == 403


def test_one_of_two_administrators_can_be_deleted(console):
    grace, _ = create_administrator("grace")
    console.post(f"/admin/keys/user/{grace.pk}/delete/", {"post": "yes"})
    assert not User.objects.filter(username="grace").exists()


def test_a_staff_token_is_shown_once_and_revoked(console, administrator):
    form = {"user": str(administrator.pk), "name": "terraform"}
    response = console.post("/admin/keys/stafftoken/add/", form)
    token = StaffToken.objects.get()
    assert token.token_hash == hash_secret(_shown(response))
    console.post(f"/admin/keys/stafftoken/{token.pk}/revoke/")
    token.refresh_from_db()
    assert token.revoked_at is not None


@pytest.mark.parametrize("page", ["team", "apikey", "user", "stafftoken"])
def test_every_list_opens(console, administrator, research, page):
    issue_key(research, "ci")
    issue_staff_token(administrator, "terraform")
    assert console.get(f"/admin/keys/{page}/").status_code == 200
    assert console.get(f"/admin/keys/{page}/add/").status_code == 200


def _revoke_address(key: ApiKey) -> str:
    return f"{KEYS}{key.pk}/revoke/"


def with_inlines(console: Client, path: str, form: dict[str, str]) -> dict[str, str]:
    """Add the bookkeeping fields of what other rooms show on the same page."""
    page = console.get(path).content.decode()
    names = re.findall(r'name="([a-z_-]+-(?:TOTAL|INITIAL)_FORMS)"', page)
    return {**dict.fromkeys(names, "0"), **form}
