"""Django's database and cache settings for the two kinds of installation."""

from typing import Any

from psycopg import ProgrammingError
from psycopg.conninfo import make_conninfo

from gateway_project.environment import BadVariableError, Database

# A host that is gone without a word is given up after half a minute, whether a question is on
# its way to it (tcp_user_timeout) or an answer is awaited (keepalives). Processes that serve
# know sooner, and of a server that is frozen too: see gateway_project/postgresql/silence.py.
_PATIENCE = {
    # For each address that the host's name stands for.
    "connect_timeout": "3",
    "keepalives": "1",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}


def database_settings(database: Database) -> dict[str, Any]:
    """One connection for each thread: a page's is closed with the page, others are kept.

    Django's persistent connections (CONN_MAX_AGE) would outlive the thread that a page has to
    itself, until memory is next collected.

    Raises:
        BadVariableError: DATABASE_URL carries an option that libpq does not know.
    """
    return _postgresql(database) if database.postgresql else _sqlite(database)


def _sqlite(database: Database) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": database.name,
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
        "ENGINE": "gateway_project.postgresql",
        "NAME": database.name,
        "USER": database.user,
        "PASSWORD": database.password,
        "HOST": database.host,
        "PORT": database.port,
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
