"""The pytest plugin that chooses the database, before Django reads its settings.

`--database sqlite` (the default) or `--database postgresql`, which brings up a cluster of its
own for the run. A DATABASE_URL in the environment is used as it is. A service that this machine
lacks is skipped by name; where CI is set nothing may be skipped, and a skip fails the run.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Generator

import pytest
from cryptography.fernet import Fernet

from tests.missing import MissingServiceError
from tests.postgresql_cluster import PostgreSQLCluster

CLUSTER = pytest.StashKey[PostgreSQLCluster | MissingServiceError]()
# What a developer's shell may hold, and would change what a test sees.
OURS = [
    "ADMIN_PASSWORD",
    "ADMIN_USERNAME",
    "ALERT_EMAILS",
    "ALERT_WEBHOOK_SECRET",
    "ALERT_WEBHOOK_URL",
    "ALLOWED_HOSTS",
    "ALLOW_PRIVATE_UPSTREAMS",
    "ANTHROPIC_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    "CORS_ALLOWED_ORIGINS",
    "CREDENTIAL_KEYS",
    "DATA_DIR",
    "DEBUG",
    "DEFAULT_PROVIDER",
    "DRAIN_SECONDS",
    "EMAIL_URL",
    "GATEWAY_CONFIG",
    "GEMINI_API_KEY",
    "HOST",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "METRICS_TOKEN",
    "OPENAI_API_KEY",
    "PORT",
    "PUBLIC_URL",
    "REDIS_URL",
    "SECRET_KEY",
    "TRUSTED_PROXIES",
    "WORKERS",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        help="what the tests run on; PostgreSQL is brought up by the run itself",
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Settle the environment first: pytest-django reads the settings in this hook."""
    for name in OURS:
        os.environ.pop(name, None)
    data_dir = tempfile.mkdtemp(prefix="gateway-tests-")
    atexit.register(shutil.rmtree, data_dir, ignore_errors=True)
    os.environ["DATA_DIR"] = data_dir
    if early_config.known_args_namespace.database == "postgresql":
        os.environ["DATABASE_URL"] = _cluster_url(early_config)
    elif early_config.known_args_namespace.database == "sqlite":
        os.environ.pop("DATABASE_URL", None)
    if os.environ.get("DATABASE_URL"):
        os.environ["SECRET_KEY"] = "a-secret-key-for-tests-alone-that-is-long-enough-for-django"
        os.environ["CREDENTIAL_KEYS"] = Fernet.generate_key().decode()
    return (yield)


def _cluster_url(config: pytest.Config) -> str:
    try:
        cluster = PostgreSQLCluster()
    except MissingServiceError as missing:
        config.stash[CLUSTER] = missing
        return ""
    config.stash[CLUSTER] = cluster
    atexit.register(cluster.stop)
    return cluster.url("postgres")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    missing = config.stash.get(CLUSTER, None)
    if isinstance(missing, MissingServiceError):
        for item in items:
            item.add_marker(pytest.mark.skip(reason=str(missing)))


def pytest_report_header() -> str:
    return f"database: {'PostgreSQL' if os.environ.get('DATABASE_URL') else 'SQLite'}"


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("\nCI is set: nothing may be skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
