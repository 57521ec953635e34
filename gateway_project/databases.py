"""Django's database and cache settings for the two kinds of installation."""

from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from gateway_project.environment import BadVariableError, Database

# Long enough to save the connection set-up of one request after another, short enough that an
# idle thread gives its connection back.
_CONNECTION_SECONDS = 60
# A host that is gone without a word is given up after half a minute, whether a question is on
# its way to it (tcp_user_timeout) or an answer is awaited (keepalives).
_PATIENCE = {
    "connect_timeout": "5",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


def database_settings(database: Database) -> dict[str, Any]:
    """Raises BadVariableError when DATABASE_URL carries an option that libpq does not know."""
    return _postgresql(database) if database.postgresql else _sqlite(database)


def _sqlite(database: Database) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": database.name,
        "CONN_MAX_AGE": _CONNECTION_SECONDS,
        "OPTIONS": {
            # A writer takes its lock at BEGIN: two that read first could never both go on.
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
        },
    }


def _postgresql(database: Database) -> dict[str, Any]:
    options = {**_PATIENCE, "application_name": "gateway", **dict(database.options)}
    try:
        make_conninfo(**options)
    except ProgrammingError as error:
        raise BadVariableError("DATABASE_URL", str(error).strip()) from None
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": database.name,
        "USER": database.user,
        "PASSWORD": database.password,
        "HOST": database.host,
        "PORT": database.port,
        "CONN_MAX_AGE": _CONNECTION_SECONDS,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }


def cache_settings(redis_url: str) -> dict[str, Any]:
    """The cache that counts sign-ins and failed keys; shared by every process."""
    if not redis_url:
        return {
            "BACKEND": "keys.counting_cache.CountingCache",
            "LOCATION": "gateway_cache",
        }
    return {
        "BACKEND": "keys.redis_cache.SparingRedisCache",
        "LOCATION": redis_url,
        # What the one call waits that finds a Redis hanging.
        "OPTIONS": {"socket_timeout": 0.04, "socket_connect_timeout": 0.04},
    }
