import pytest
from django.test import Client
from django.urls import reverse

from keys.accounts import create_administrator
from tests.keys.conftest import PASSWORD

LOGIN = "/admin/login/"
CHANGE = "/admin/password_change/"


def _sign_in(client: Client, username: str, password: str, ip: str = "192.0.2.1"):
    form = {"username": username, "password": password}
    return client.post(LOGIN, form, REMOTE_ADDR=ip)


@pytest.fixture
def one_time_password(db) -> str:
    return str(create_administrator("grace")[1])


@pytest.fixture
def newcomer(client: Client, one_time_password) -> Client:
    assert _sign_in(client, "grace", one_time_password).status_code == 302
    return client


def test_a_good_password_signs_in(client, administrator):
    assert _sign_in(client, "ada", PASSWORD).status_code == 302


def test_an_unknown_name_and_a_bad_password_read_the_same(client, administrator):
    unknown = _sign_in(client, "nobody", "wrong").context["form"].non_field_errors()
    bad = _sign_in(client, "ada", "wrong").context["form"].non_field_errors()
    assert unknown == bad


def test_the_sixth_try_in_a_minute_has_to_wait(client, administrator):
    for _ in range(5):
        _sign_in(client, "ada", "wrong")
    assert "Too many attempts" in _sign_in(client, "ada", PASSWORD).content.decode()


def test_another_address_is_not_held_up(client, administrator):
    for _ in range(6):
        _sign_in(client, "ada", "wrong")
    assert _sign_in(client, "ada", PASSWORD, ip="198.51.100.7").status_code == 302


def test_an_address_that_tries_many_names_has_to_wait(client, administrator):
    for number in range(20):
        _sign_in(client, f"name-{number}", "wrong")
    assert "Too many attempts" in _sign_in(client, "ada", PASSWORD).content.decode()


def test_a_dead_cache_does_not_keep_administrators_out(client, administrator, settings):
    settings.CACHES = {
        "default": {
            "BACKEND": "keys.redis_cache.SparingRedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    assert _sign_in(client, "ada", PASSWORD).status_code == 302
    # The fixture that empties the cache after each test needs one.
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}


@pytest.mark.parametrize("path", ["/admin/", "/admin/keys/team/", "/nowhere/"])
def test_a_one_time_password_leads_to_its_change(newcomer, path):
    response = newcomer.get(path)
    assert response.status_code == 302
    assert response.headers["Location"] == CHANGE


def test_a_one_time_password_opens_no_api(newcomer):
    assert newcomer.get("/api/teams/").status_code == 403


def test_a_changed_password_opens_the_console(newcomer, one_time_password):
    assert _change(newcomer, one_time_password, "a-better-password-1").status_code == 302
    assert newcomer.get("/admin/").status_code == 200


def test_the_one_time_password_cannot_be_kept(newcomer, one_time_password):
    response = _change(newcomer, one_time_password, one_time_password)
    assert "present password" in response.content.decode()
    assert newcomer.get("/admin/").status_code == 302


def test_who_must_change_the_password_can_still_leave(newcomer):
    assert newcomer.post(reverse("admin:logout")).status_code == 200


def _change(client: Client, old: str, new: str):
    form = {"old_password": old, "new_password1": new, "new_password2": new}
    return client.post(CHANGE, form)
