"""Django's PostgreSQL, over connections that do not wait for a server that has gone silent."""

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.utils.asyncio import async_unsafe

from gateway_project.postgresql.silence import BoundedConnection, SilentDatabaseError, silence

# A process that was frozen in the middle of a transaction, or whose host is gone, holds its
# locks no longer than that; whoever lives says its next word within milliseconds.
_IDLE_SECONDS = 10


class DatabaseWrapper(base.DatabaseWrapper):
    connection: BoundedConnection | None

    @async_unsafe
    def ensure_connection(self) -> None:
        kept = self.connection
        if kept is not None and kept.is_from_before() and not self.in_atomic_block:
            self.close()
        super().ensure_connection()

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> BoundedConnection:
        if silence.is_on:
            raise SilentDatabaseError("PostgreSQL is silent.")
        self.isolation_level = IsolationLevel.READ_COMMITTED  # as Django's own does
        connection = BoundedConnection.connect(**conn_params, autocommit=True)
        connection.execute(f"SET idle_in_transaction_session_timeout = '{_IDLE_SECONDS}s'")
        return connection
