"""Questions to the database from a thread that lives on, and keeps its connection meanwhile."""

from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, connection

Answer = TypeVar("Answer")


def ask_again_if_broken(question: Callable[[], Answer]) -> Answer:
    """Ask over this thread's connection; where that fails, once more over a new one.

    The kept connection may have died with an earlier database. One that failed is never kept.
    What is asked must not mind being asked twice.

    Raises:
        django.db.DatabaseError, InterfaceError: the database is away.
    """
    was_open = connection.connection is not None
    try:
        return _ask(question)
    except (DatabaseError, InterfaceError):
        if not was_open:
            raise
    return _ask(question)


def _ask(question: Callable[[], Answer]) -> Answer:
    try:
        return question()
    except (DatabaseError, InterfaceError):
        connection.close()
        raise
