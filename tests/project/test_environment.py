from base64 import urlsafe_b64encode
from ipaddress import ip_network
from pathlib import Path

import pytest

from gateway_project.environment import (
    ANY_UPSTREAM,
    LOOPBACK_UPSTREAMS,
    BadVariableError,
    read_environment,
)

FERNET_KEY = urlsafe_b64encode(bytes(32)).decode()
PRODUCTION = {
    "DATABASE_URL": "postgresql://me:p%40ss@db.example:5433/gateway?sslmode=require",
    "SECRET_KEY": "s" * 50,
    "CREDENTIAL_KEYS": FERNET_KEY,
}


def test_an_empty_environment_gives_the_embedded_default():
    environment = read_environment({})
    assert (environment.host, environment.port, environment.workers) == ("127.0.0.1", 8000, 1)
    assert Path(environment.database.name) == environment.data_dir / "gateway.sqlite3"
    assert environment.private_upstreams == LOOPBACK_UPSTREAMS
    assert environment.public_url == "http://127.0.0.1:8000"
    assert environment.drain_seconds == 600
    assert not environment.debug


def test_an_empty_variable_counts_as_unset():
    assert read_environment({"PORT": "", "WORKERS": " "}).port == 8000


def test_a_postgresql_url_is_taken_apart():
    database = read_environment(PRODUCTION).database
    assert database.postgresql
    assert (database.user, database.password) == ("me", "p@ss")
    assert (database.host, database.port, database.name) == ("db.example", "5433", "gateway")
    assert database.options == (("sslmode", "require"),)


def test_a_postgresql_socket_folder_is_read_from_the_options():
    url = "postgresql:///gateway?host=/run/postgresql"
    assert read_environment({**PRODUCTION, "DATABASE_URL": url}).database.host == "/run/postgresql"


def test_a_sqlite_url_names_a_file(tmp_path):
    url = f"sqlite:///{tmp_path}/other.sqlite3"
    assert read_environment({"DATABASE_URL": url}).database.name == f"{tmp_path}/other.sqlite3"


@pytest.mark.parametrize("name", ["SECRET_KEY", "CREDENTIAL_KEYS"])
def test_secrets_must_be_given_with_postgresql(name):
    variables = {key: value for key, value in PRODUCTION.items() if key != name}
    with pytest.raises(BadVariableError, match=f"^{name}: must be given"):
        read_environment(variables)


def test_no_private_upstream_is_allowed_by_default_with_postgresql():
    assert read_environment(PRODUCTION).private_upstreams == ()


@pytest.mark.parametrize(
    ("value", "upstreams"),
    [
        ("1", ANY_UPSTREAM),
        ("0", ()),
        ("Localhost:11434, 10.0.5.7:8000", ("localhost:11434", "10.0.5.7:8000")),
        ("[::1]:9000", ("[::1]:9000",)),
    ],
)
def test_private_upstreams_are_any_none_or_exact_pairs(value, upstreams):
    environment = read_environment({"ALLOW_PRIVATE_UPSTREAMS": value})
    assert environment.private_upstreams == upstreams


def test_the_public_host_and_loopback_are_allowed_hosts():
    environment = read_environment(
        {"PUBLIC_URL": "https://gateway.example/", "ALLOWED_HOSTS": "internal.example"}
    )
    assert environment.public_url == "https://gateway.example"
    assert environment.allowed_hosts == (
        "internal.example",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "gateway.example",
    )


def test_trusted_proxies_are_networks():
    environment = read_environment({"TRUSTED_PROXIES": "10.0.0.0/8,::1"})
    assert environment.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("::1"))


@pytest.mark.parametrize(("value", "debug"), [("1", True), ("TRUE", True), ("0", False)])
def test_booleans_are_one_zero_true_false(value, debug):
    assert read_environment({"DEBUG": value}).debug is debug


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("PORT", "80x"),
        ("PORT", "-1"),
        ("HOST", "not a host"),
        ("HOST", "300.1.1.1"),
        ("WORKERS", "0"),
        ("WORKERS", "2.5"),
        ("DATABASE_URL", "mysql://a/b"),
        ("DATABASE_URL", "postgresql://host"),
        ("DATABASE_URL", "postgresql://a:b@host:port/name"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("REDIS_URL", "localhost:6379"),
        ("SECRET_KEY", "short"),
        ("CREDENTIAL_KEYS", "abc"),
        ("CREDENTIAL_KEYS", ","),
        ("ADMIN_USERNAME", "a b"),
        ("GATEWAY_CONFIG", "/no/such/file.yaml"),
        ("OPENAI_API_KEY", "sk one"),
        ("ANTHROPIC_API_KEY", "ключ"),
        ("PUBLIC_URL", "gateway.example"),
        ("PUBLIC_URL", "https://gateway.example/below"),
        ("ALLOWED_HOSTS", "https://gateway.example"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("CORS_ALLOWED_ORIGINS", "app.example"),
        ("ALLOW_PRIVATE_UPSTREAMS", "localhost"),
        ("ALLOW_PRIVATE_UPSTREAMS", "localhost:99999"),
        ("LOG_FORMAT", "xml"),
        ("LOG_LEVEL", "loud"),
        ("DRAIN_SECONDS", "-5"),
        ("DEBUG", "yes"),
    ],
)
def test_a_malformed_value_is_refused_with_one_line_that_names_it(name, value):
    with pytest.raises(BadVariableError) as refusal:
        read_environment({name: value})
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["SECRET_KEY", "CREDENTIAL_KEYS", "DATABASE_URL", "REDIS_URL"])
def test_a_refusal_repeats_no_secret(name):
    with pytest.raises(BadVariableError) as refusal:
        read_environment({name: "x://u:hunter2@h"})
    assert "hunter2" not in str(refusal.value)
