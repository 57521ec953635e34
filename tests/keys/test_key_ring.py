"""The ring is asked as the gateway asks it: memory first, then the database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import connection

from keys.authentication import KeyRing, check_address
from keys.caller import Caller
from keys.errors import AddressNotAllowedError, InvalidKeyError, ServiceUnavailableError
from keys.issuing import issue_key, revoke_key
from keys.models import Team
from keys.secrets import make_secret
from keys.versions import read_version

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="research", timezone="Europe/Paris")


@pytest.fixture
def ring():
    ring = KeyRing()
    yield ring
    ring.close()


@pytest.fixture
def database_away():
    """Take the key table away, as an unreachable database takes all of them."""

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    away = False

    def leave() -> None:
        nonlocal away
        rename("keys_apikey", "keys_apikey_away")
        away = True

    yield leave
    if away:
        rename("keys_apikey_away", "keys_apikey")


def _ask(ring: KeyRing, secret: str, now: datetime = NOW) -> Caller:
    known = ring.cached(secret, now)
    if known is not None:
        return known
    caller: Caller = async_to_sync(ring.look_up)(secret, now)
    return caller


def test_a_good_key_names_its_caller(ring, team):
    key, secret = issue_key(team, "ci", tags={"env": "prod"}, allowed_models=["gpt-*"])
    caller = _ask(ring, secret)
    assert (caller.key_id, caller.key_name, caller.team_name) == (key.pk, "ci", "research")
    assert caller.timezone == "Europe/Paris"
    assert caller.tags == (("env", "prod"),)
    assert caller.may_call("gpt-4o")
    assert not caller.may_call("claude")


def test_the_second_answer_comes_from_memory(ring, team, django_assert_num_queries):
    _, secret = issue_key(team, "ci")
    first = _ask(ring, secret)
    with django_assert_num_queries(0):
        assert ring.cached(secret, NOW) is first


def test_a_key_never_seen_is_not_in_memory(ring):
    assert ring.cached(make_secret(), NOW) is None


def test_F60_a_malformed_key_needs_no_database(ring):
    with pytest.raises(InvalidKeyError):
        ring.cached("gw_nonsense", NOW)


def test_an_unknown_key_is_remembered_as_unknown(ring):
    secret = make_secret()
    with pytest.raises(InvalidKeyError):
        _ask(ring, secret)
    with pytest.raises(InvalidKeyError):
        ring.cached(secret, NOW)


def test_a_key_made_after_a_miss_works_once_the_version_is_known(ring, team):
    secret = make_secret()
    with pytest.raises(InvalidKeyError):
        _ask(ring, secret)
    issue_key(team, "late", secret=secret)
    ring.forget_all(read_version())
    assert _ask(ring, secret).key_name == "late"


def test_misses_do_not_grow_without_bound(ring, monkeypatch):
    monkeypatch.setattr("keys.authentication._MOST_MISSES", 3)
    for secret in [make_secret() for _ in range(5)]:
        with pytest.raises(InvalidKeyError):
            _ask(ring, secret)
    assert len(ring._misses) == 3


def test_a_revoked_key_is_refused_once_the_version_is_known(ring, team):
    key, secret = issue_key(team, "ci")
    _ask(ring, secret)
    revoke_key(key, NOW)
    ring.forget_all(read_version())
    assert ring.cached(secret, NOW) is None
    with pytest.raises(InvalidKeyError):
        _ask(ring, secret)


def test_F38_a_late_answer_never_revives_a_revoked_key(ring, team):
    key, secret = issue_key(team, "ci")

    async def revoke_during_look_up() -> None:
        looking = asyncio.create_task(ring.look_up(secret, NOW))
        await asyncio.sleep(0)
        version = await asyncio.to_thread(_revoke_and_read_version, key)
        ring.forget_all(version)
        await asyncio.gather(looking, return_exceptions=True)

    async_to_sync(revoke_during_look_up)()
    with pytest.raises(InvalidKeyError):
        _ask(ring, secret)


def test_a_stale_answer_is_asked_again(ring, team):
    _, secret = issue_key(team, "ci")
    ring.forget_all(read_version() + 1)

    async def edit_while_it_asks() -> Caller:
        looking = asyncio.create_task(ring.look_up(secret, NOW))
        await asyncio.to_thread(_edit_team)
        caller: Caller = await looking
        return caller

    caller: Caller = async_to_sync(edit_while_it_asks)()
    assert caller.log_bodies


def test_an_edited_team_takes_effect_once_the_version_is_known(ring, team):
    _, secret = issue_key(team, "ci")
    _ask(ring, secret)
    Team.objects.update(name="renamed")
    ring.forget_all(read_version())
    assert _ask(ring, secret).team_name == "renamed"


def test_an_expired_key_is_refused_from_memory_too(ring, team):
    _, secret = issue_key(team, "ci", expires_at=NOW + timedelta(minutes=1), now=NOW)
    _ask(ring, secret)
    with pytest.raises(InvalidKeyError):
        ring.cached(secret, NOW + timedelta(minutes=1))


def test_every_bad_key_gets_the_same_message(ring, team):
    revoked, revoked_secret = issue_key(team, "revoked")
    revoke_key(revoked, NOW)
    _, expired_secret = issue_key(team, "expired", expires_at=NOW, now=NOW - timedelta(days=1))
    messages = set()
    for secret in (revoked_secret, expired_secret, make_secret(), "nonsense"):
        with pytest.raises(InvalidKeyError) as refused:
            _ask(ring, secret)
        messages.add(refused.value.message)
    assert len(messages) == 1


def test_F28_an_unknown_key_is_not_called_bad_while_the_database_is_away(ring, database_away):
    database_away()
    with pytest.raises(ServiceUnavailableError):
        _ask(ring, make_secret())


def test_F28_a_dropped_key_goes_on_while_the_database_is_away(ring, team, database_away):
    _, secret = issue_key(team, "ci")
    _ask(ring, secret)
    ring.forget_all(read_version() + 1)
    database_away()
    assert _ask(ring, secret, NOW + timedelta(minutes=5)).key_name == "ci"


def test_F28_a_key_unseen_for_five_minutes_stops(ring, team, database_away):
    _, secret = issue_key(team, "ci")
    _ask(ring, secret)
    database_away()
    with pytest.raises(ServiceUnavailableError):
        _ask(ring, secret, NOW + timedelta(minutes=5, seconds=1))


def test_F28_a_key_in_use_goes_on_longer_than_five_minutes(ring, team, database_away):
    _, secret = issue_key(team, "ci")
    _ask(ring, secret)
    database_away()
    for minute in range(4, 20, 4):
        assert ring.cached(secret, NOW + timedelta(minutes=minute))


def test_many_callers_of_a_new_key_share_one_look_up(ring, team):
    _, secret = issue_key(team, "ci")

    async def ask_at_once() -> int:
        tasks = [asyncio.create_task(ring.look_up(secret, NOW)) for _ in range(50)]
        await asyncio.sleep(0)
        running = len(ring._running)
        await asyncio.gather(*tasks)
        return running

    assert async_to_sync(ask_at_once)() == 1


@pytest.mark.parametrize("ip", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_an_address_inside_the_keys_networks_passes(ring, team, ip):
    _, secret = issue_key(team, "ci", allowed_ips=["10.0.0.0/8"])
    check_address(_ask(ring, secret), ip)


@pytest.mark.parametrize("ip", ["192.0.2.1", "2001:db8::1", "", "nonsense"])
def test_any_other_address_is_refused(ring, team, ip):
    _, secret = issue_key(team, "ci", allowed_ips=["10.0.0.0/8"])
    with pytest.raises(AddressNotAllowedError):
        check_address(_ask(ring, secret), ip)


def _revoke_and_read_version(key) -> int:
    try:
        revoke_key(key, NOW)
        return read_version()
    finally:
        connection.close()


def _edit_team() -> None:
    try:
        Team.objects.update(log_bodies=True)
    finally:
        connection.close()
