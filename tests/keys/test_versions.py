from datetime import UTC, datetime

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from keys.models import ApiKey, ConfigVersion, Team
from keys.triggers import install_triggers, remove_triggers
from keys.versions import ensure_version_row, read_version

pytestmark = pytest.mark.django_db


def test_the_row_is_there_after_a_migration():
    assert ConfigVersion.objects.count() == 1


def test_a_new_team_raises_the_version():
    before = read_version()
    Team.objects.create(name="research")
    assert read_version() > before


def test_a_bulk_update_raises_the_version():
    Team.objects.create(name="research")
    before = read_version()
    Team.objects.update(timezone="Europe/Paris")
    assert read_version() > before


def test_raw_sql_raises_the_version():
    team = Team.objects.create(name="research")
    before = read_version()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE keys_team SET log_bodies = NOT log_bodies WHERE id = %s", [team.pk])
    assert read_version() > before


def test_a_delete_raises_the_version():
    team = Team.objects.create(name="research")
    before = read_version()
    team.delete()
    assert read_version() > before


def test_a_revoked_key_raises_the_version():
    team = Team.objects.create(name="research")
    key = ApiKey.objects.create(team=team, name="ci", secret_hash="0" * 64)
    before = read_version()
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=datetime.now(UTC))
    assert read_version() > before


def test_an_edit_that_is_rolled_back_leaves_the_version():
    before = read_version()
    with transaction.atomic():
        Team.objects.create(name="research")
        transaction.set_rollback(True)
    assert read_version() == before


@pytest.mark.parametrize(
    "label",
    ["billing.Limit", "billing.Price", "routing.Provider", "routing.Model", "routing.Target"],
)
def test_every_configuration_table_raises_the_version(label):
    table = apps.get_model(label)._meta.db_table
    assert any(name.startswith(f"{table}_version") for name in _trigger_names())


@pytest.mark.django_db(transaction=True)
def test_triggers_come_back_after_a_migration_that_rebuilt_a_table():
    remove_triggers(using="default", plan=["something to do"])
    assert not _trigger_names()
    call_command("migrate", verbosity=0)
    before = read_version()
    Team.objects.create(name="research")
    assert read_version() > before


def test_a_migration_without_work_leaves_the_triggers():
    remove_triggers(using="default", plan=[])
    assert _trigger_names()


def test_installing_twice_keeps_number_and_effect():
    Team.objects.create(name="research")
    before = read_version()
    install_triggers(using="default")
    ensure_version_row(using="default")
    assert read_version() == before
    Team.objects.create(name="platform")
    assert read_version() > before


def _trigger_names() -> set[str]:
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(query)
        return {name for (name,) in cursor.fetchall() if "_version" in name}
