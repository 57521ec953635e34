"""Provider credentials at rest."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command

from routing.catalogue import config_of
from routing.credentials import CredentialError, Secret, hint, seal, unseal
from routing.models import Provider
from routing.provider_edits import save_provider

ORIGIN = "https://a.example:443"
SECRET = "sk-very-secret-9876"


def provider(**fields: Any) -> Provider:
    made = Provider(name="main", kind="openai", base_url="https://a.example/v1", **fields)
    return save_provider(made, credential=SECRET)


def test_a_sealed_secret_opens_for_its_origin():
    assert unseal(seal(SECRET, ORIGIN), ORIGIN).reveal() == SECRET


@pytest.mark.parametrize("origin", ["https://b.example:443", "http://a.example:443", ""])
def test_r7_a_sealed_secret_opens_for_no_other_origin(origin: str):
    with pytest.raises(CredentialError):
        unseal(seal(SECRET, ORIGIN), origin)


def test_a_secret_shows_itself_to_nobody():
    secret = Secret(SECRET)
    assert SECRET not in f"{secret} {secret!r} {[secret]}"


@pytest.mark.parametrize(("secret", "shown"), [(SECRET, "set, ends in …9876"), ("short", "set")])
def test_r43_only_the_end_of_a_long_secret_is_shown(secret: str, shown: str):
    assert hint(seal(secret, ORIGIN)) == shown
    assert hint("") == "not set"


def test_another_key_does_not_open_it(settings: Any):
    sealed = seal(SECRET, ORIGIN)
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CredentialError):
        unseal(sealed, ORIGIN)
    assert "unreadable" in hint(sealed)


@pytest.mark.django_db
def test_credentials_are_rotated_to_the_newest_key(settings: Any):
    old, new = settings.CREDENTIAL_KEYS[0], Fernet.generate_key().decode()
    row = provider()
    settings.CREDENTIAL_KEYS = [new, old]
    call_command("rotate_credentials")
    settings.CREDENTIAL_KEYS = [new]
    row.refresh_from_db()
    assert config_of(row).secret == Secret(SECRET)


@pytest.mark.django_db
def test_a_rotation_that_cannot_open_one_changes_none(settings: Any):
    row = provider()
    settings.CREDENTIAL_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(CommandError, match="main"):
        call_command("rotate_credentials")
    before = row.credential
    row.refresh_from_db()
    assert row.credential == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    "base_url", ["https://b.example/v1", "http://a.example/v1", "https://a.example:444/v1", ""]
)
def test_g28_a_changed_origin_demands_the_credential_again(base_url: str):
    row = provider()
    row.base_url = base_url
    with pytest.raises(ValidationError, match="entered again"):
        save_provider(row)
    save_provider(row, credential="sk-another-0000")
    assert config_of(row).secret == Secret("sk-another-0000")


@pytest.mark.django_db
def test_the_same_credential_again_changes_nothing():
    row = provider()
    before = row.credential
    assert save_provider(row, credential=SECRET).credential == before


@pytest.mark.django_db
def test_another_path_of_the_same_origin_keeps_the_credential():
    row = provider()
    row.base_url = "https://A.example:443/v2"
    save_provider(row)
    assert config_of(row).secret == Secret(SECRET)


@pytest.mark.django_db
def test_g28_a_row_changed_behind_our_back_never_sends_its_credential():
    row = provider()
    Provider.objects.update(base_url="https://evil.example/v1")
    row.refresh_from_db()
    found = config_of(row)
    assert not found.secret
    assert found.credential_fault


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "other"),
        ("kind", "anthropic"),
        ("timeout_seconds", 0),
        ("total_timeout_seconds", float("inf")),
        ("connect_timeout_seconds", float("nan")),
        ("stream_idle_timeout_seconds", 3601),
        ("on_disconnect", "hope"),
    ],
)
def test_a_provider_that_cannot_be_is_refused_by_field(field: str, value: Any):
    row = provider()
    setattr(row, field, value)
    with pytest.raises(ValidationError) as caught:
        save_provider(row)
    assert list(caught.value.message_dict) == [field]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["anthropic", "a\nb", " a", "ä", ""])
def test_a_name_that_cannot_be_is_refused(name: str):
    with pytest.raises(ValidationError):
        save_provider(Provider(name=name, kind="openai"))


@pytest.mark.django_db
@pytest.mark.parametrize("credential", ["sk-a\r\nx: y", "sk-ä", " sk-a"])
def test_a_credential_that_no_header_can_hold_is_refused(credential: str):
    with pytest.raises(ValidationError):
        save_provider(Provider(name="m", kind="openai"), credential=credential)
