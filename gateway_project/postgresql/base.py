"""Django's PostgreSQL, over connections that do not wait for a server that has gone silent."""

from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.psycopg_any import IsolationLevel
from django.utils.asyncio import async_unsafe

from gateway_project.postgresql.silence import BoundedConnection, SilentDatabaseError, silence


class DatabaseWrapper(base.DatabaseWrapper):
    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> BoundedConnection:
        if silence.is_set():
            raise SilentDatabaseError("PostgreSQL is silent.")
        self.isolation_level = IsolationLevel.READ_COMMITTED  # as Django's own does
        return BoundedConnection.connect(**conn_params)
