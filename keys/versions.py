"""The configuration's version: one row that a trigger raises in the transaction of every edit.

Workers poll the number and reload what they keep in memory when it has moved. Because the
edit and the number commit together, whoever has read the number sees every edit up to it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.db import connection, models

from keys.triggers import Trigger, register_trigger

_TABLE = "keys_configversion"
_ONLY_ROW = 1
_SINCE_1970 = {
    "postgresql": "extract(epoch FROM clock_timestamp())::double precision",
    "sqlite": "(julianday('now') - 2440587.5) * 86400.0",
}
_RAISE = f'UPDATE "{_TABLE}" SET number = number + 1 WHERE id = {_ONLY_ROW}'  # noqa: S608 - constants only


def _rows() -> models.Manager[models.Model]:
    # By name, so that every room's AppConfig can import this module before models are loaded.
    return apps.get_model("keys", "ConfigVersion")._default_manager


@dataclass(frozen=True, slots=True)
class Moment:
    """The configuration's version and the database's time (seconds since 1970) as it was read."""

    version: int
    time: float


def read_moment() -> Moment:
    """Read the version together with the database's time; one query.

    As text: every worker asks it several times a second for as long as it lives.
    """
    now = _SINCE_1970[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT number, {now} FROM {_TABLE} WHERE id = {_ONLY_ROW}")  # noqa: S608 - constants only
        return Moment(*cursor.fetchone())


def read_version() -> int:
    """Read the number that the last committed edit left; one query."""
    return int(_rows().values_list("number", flat=True).get(pk=_ONLY_ROW))


def register(model: type[models.Model], columns: Collection[str] | None = None) -> None:
    """Raise the version whenever a row of a model changes; call it in `AppConfig.ready`.

    Args:
        columns: database columns whose update counts; None means every column. New and
            deleted rows always count.
    """
    table = model._meta.db_table
    update = "UPDATE"
    if columns is not None:
        update += " OF " + ", ".join(f'"{column}"' for column in columns)
    for event in ("INSERT", update, "DELETE"):
        name = f"{table}_version_{event.split()[0].lower()}"
        statement = f'CREATE TRIGGER "{name}" AFTER {event} ON "{table}" BEGIN {_RAISE}; END'
        register_trigger(Trigger("sqlite", name, (table, _TABLE), (statement,)))
    register_trigger(_postgresql_trigger(table, update))


def _postgresql_trigger(table: str, update: str) -> Trigger:
    name = f"{table}_version"
    function = (
        "CREATE OR REPLACE FUNCTION raise_config_version() RETURNS trigger LANGUAGE plpgsql "
        f"AS $$ BEGIN {_RAISE}; RETURN NULL; END $$"
    )
    statement = (
        f'CREATE TRIGGER "{name}" AFTER INSERT OR DELETE OR TRUNCATE OR {update} ON "{table}" '
        "FOR EACH STATEMENT EXECUTE FUNCTION raise_config_version()"
    )
    return Trigger("postgresql", name, (table, _TABLE), (function, statement))


def ensure_version_row(*, using: str, **_: Any) -> None:
    """Make the row that the triggers raise; a receiver of `post_migrate`."""
    _rows().using(using).get_or_create(pk=_ONLY_ROW)
