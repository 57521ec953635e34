"""SQL triggers of every room, put in place after each migration, on both databases.

Triggers are the only thing that also sees bulk updates and raw SQL. A table rebuild drops
them, and a trigger whose table or column is being altered stands in the way of the
migration: so they all go before a migration that has work to do and come back after it.
"""

from dataclasses import dataclass
from typing import Any

from django.db import connections, transaction


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger on one database vendor.

    Attributes:
        vendor: `sqlite` or `postgresql`.
        needs: tables that must exist; the trigger's own table comes first.
        create: statements that create it, in order (on PostgreSQL its function first, with
            CREATE OR REPLACE). They run in one transaction after the old one was dropped.
    """

    vendor: str
    name: str
    needs: tuple[str, ...]
    create: tuple[str, ...]

    @property
    def drop(self) -> str:
        if self.vendor == "sqlite":
            return f'DROP TRIGGER IF EXISTS "{self.name}"'
        return f'DROP TRIGGER IF EXISTS "{self.name}" ON "{self.needs[0]}"'


_registered: dict[tuple[str, str], Trigger] = {}


def register_trigger(trigger: Trigger) -> None:
    """Keep a trigger in place from the next migration on; call it in `AppConfig.ready`."""
    _registered[trigger.vendor, trigger.name] = trigger


def install_triggers(*, using: str, **_: Any) -> None:
    """Put every registered trigger in place; a receiver of `post_migrate`."""
    _run(using, create=True)


def remove_triggers(*, using: str, plan: list[Any], **_: Any) -> None:
    """Take them away before a migration that changes something; a receiver of `pre_migrate`."""
    if plan:
        _run(using, create=False)


def _run(using: str, *, create: bool) -> None:
    connection = connections[using]
    with transaction.atomic(using=using), connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for trigger in _registered.values():
            if trigger.vendor != connection.vendor or not tables.issuperset(trigger.needs):
                continue
            cursor.execute(trigger.drop)
            for statement in trigger.create if create else ():
                cursor.execute(statement)
