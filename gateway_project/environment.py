"""The process environment, read once and checked.

Everything that an operator sets from outside is here, with its default; `README.md` has the
table. A malformed value raises `BadVariableError`, whose text is one line that names the
variable and never repeats a secret. Only the standard library is imported: the supervisor
reads this too and stays small.
"""

import re
import sys
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from gateway_project.alert_variables import (
    MailServer,
    mail_address,
    mail_server,
    webhook_key,
    webhook_url,
)
from gateway_project.url_reading import split_url

T = TypeVar("T")
Network = IPv4Network | IPv6Network

PROJECT_DIR = Path(__file__).resolve().parent.parent
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# What `private_upstreams` holds instead of host:port pairs.
LOOPBACK_UPSTREAMS = ("loopback",)
ANY_UPSTREAM = ("any",)


class BadVariableError(Exception):
    """A variable is malformed, or missing where it is needed."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name}: {problem}")


# No repr: it would carry passwords into tracebacks.
@dataclass(frozen=True, slots=True, repr=False)
class Database:
    """Where the data lives.

    Attributes:
        name: the database's name; for SQLite its file.
        options: libpq's own parameters, such as `sslmode`.
    """

    postgresql: bool
    name: str
    user: str = ""
    password: str = ""
    host: str = ""
    port: str = ""
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, repr=False)
class Environment:
    """Every variable the gateway reads.

    Attributes:
        secret_key, credential_keys: empty means kept in `data_dir`.
        private_upstreams: `LOOPBACK_UPSTREAMS`, `ANY_UPSTREAM`, or `host:port` pairs.
        alert_webhook_url: empty for none; with one, there is an `alert_webhook_key` to sign with.
    """

    host: str
    port: int
    workers: int
    data_dir: Path
    database: Database
    redis_url: str
    secret_key: str
    credential_keys: tuple[str, ...]
    admin_username: str
    admin_password: str
    gateway_config: Path | None
    default_provider: str
    openai_api_key: str
    anthropic_api_key: str
    public_url: str
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[Network, ...]
    cors_allowed_origins: tuple[str, ...]
    log_format: str
    log_level: str
    private_upstreams: tuple[str, ...]
    drain_seconds: int
    mail_server: MailServer | None
    alert_emails: tuple[str, ...]
    alert_webhook_url: str
    alert_webhook_key: bytes
    debug: bool

    @property
    def local_url(self) -> str:
        """Where this machine itself reaches the gateway, whatever PUBLIC_URL says."""
        return f"http://{_in_url(reachable(self.host))}:{self.port}"


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Read and check the environment. An empty variable counts as unset.

    Raises:
        BadVariableError: names the variable at fault.
    """
    get = _Reader(variables)
    data_dir = Path(get.text("DATA_DIR") or PROJECT_DIR / "var").expanduser().resolve()
    database = get.parsed("DATABASE_URL", _database) or Database(
        postgresql=False, name=str(data_dir / "gateway.sqlite3")
    )
    host = get.parsed("HOST", _host) or "127.0.0.1"
    port = get.number("PORT", default=8000, least=1, most=65535)
    public_url = get.parsed("PUBLIC_URL", _origin) or f"http://{_in_url(reachable(host))}:{port}"
    mail = get.parsed("EMAIL_URL", mail_server)
    webhook = get.parsed("ALERT_WEBHOOK_URL", webhook_url) or ""
    return Environment(
        host=host,
        port=port,
        workers=get.number("WORKERS", default=1, least=1, most=256),
        data_dir=data_dir,
        database=database,
        redis_url=get.parsed("REDIS_URL", _redis_url) or "",
        secret_key=_given_with_postgresql(get, "SECRET_KEY", database, _secret_key) or "",
        credential_keys=_given_with_postgresql(get, "CREDENTIAL_KEYS", database, _fernet_keys)
        or (),
        admin_username=get.parsed("ADMIN_USERNAME", _username) or "admin",
        admin_password=get.text("ADMIN_PASSWORD"),
        gateway_config=get.parsed("GATEWAY_CONFIG", _file),
        default_provider=get.text("DEFAULT_PROVIDER"),
        openai_api_key=get.parsed("OPENAI_API_KEY", _credential) or "",
        anthropic_api_key=get.parsed("ANTHROPIC_API_KEY", _credential) or "",
        public_url=public_url,
        allowed_hosts=_allowed_hosts(get.items("ALLOWED_HOSTS", _host_pattern), public_url),
        trusted_proxies=get.items("TRUSTED_PROXIES", _network),
        cors_allowed_origins=get.items("CORS_ALLOWED_ORIGINS", _cors_origin),
        log_format=get.choice("LOG_FORMAT", "console", "json")
        or ("console" if sys.stderr.isatty() else "json"),
        log_level=get.choice("LOG_LEVEL", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        or "INFO",
        private_upstreams=_private_upstreams(get, embedded=not database.postgresql),
        drain_seconds=get.number("DRAIN_SECONDS", default=600, least=0, most=86_400),
        mail_server=mail,
        alert_emails=_alert_emails(get, mail),
        alert_webhook_url=webhook,
        alert_webhook_key=_alert_webhook_key(get, webhook),
        debug=get.boolean("DEBUG"),
    )


def reachable(host: str) -> str:
    """An address at which this machine itself reaches what listens on `host`."""
    if not re.fullmatch(r"[0-9a-f.:]+", host) or not ip_address(host).is_unspecified:
        return host
    return "::1" if ":" in host else "127.0.0.1"


class _Reader:
    """Reads one variable at a time; parse functions raise ValueError with the problem."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables

    def text(self, name: str) -> str:
        value = self._variables.get(name, "").strip()
        if "\0" in value or "\n" in value or "\r" in value:
            raise BadVariableError(name, "must be one line")
        return value

    def parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        value = self.text(name)
        if not value:
            return None
        try:
            return parse(value)
        except ValueError as error:
            raise BadVariableError(name, str(error)) from None

    def items(self, name: str, parse: Callable[[str], T]) -> tuple[T, ...]:
        return self.parsed(name, lambda text: tuple(parse(item) for item in _split(text))) or ()

    def number(self, name: str, *, default: int, least: int, most: int) -> int:
        def parse(text: str) -> int:
            if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
                raise ValueError(f"must be a whole number from {least} to {most}, not {text!r}")
            return int(text)

        value = self.parsed(name, parse)
        return default if value is None else value

    def choice(self, name: str, *choices: str) -> str:
        def parse(text: str) -> str:
            for choice in choices:
                if text.lower() == choice.lower():
                    return choice
            raise ValueError(f"must be one of {', '.join(choices)}, not {text!r}")

        return self.parsed(name, parse) or ""

    def boolean(self, name: str) -> bool:
        return self.choice(name, "1", "0", "true", "false") in ("1", "true")


def _split(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _host(text: str) -> str:
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        if re.fullmatch(r"(?!-)[A-Za-z0-9.-]{1,253}", text) and not re.fullmatch(r"[0-9.]+", text):
            return text
        raise ValueError(f"must be an IP address or a host name, not {text!r}") from None


def _database(text: str) -> Database:
    url = split_url(text)
    if url.scheme == "sqlite":
        return _sqlite(text)
    if url.scheme not in ("postgresql", "postgres"):
        raise ValueError("must begin with postgresql:// or sqlite:///")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    host = options.pop("host", "") or unquote(url.hostname or "")
    name = unquote(url.path.lstrip("/"))
    if not name:
        raise ValueError("names no database (postgresql://user:password@host:port/name)")
    return Database(
        postgresql=True,
        name=name,
        user=options.pop("user", "") or unquote(url.username or ""),
        password=options.pop("password", "") or unquote(url.password or ""),
        host=host,
        port=options.pop("port", "") or str(url.port or ""),
        options=tuple(sorted(options.items())),
    )


def _sqlite(text: str) -> Database:
    path = text.removeprefix("sqlite:///")
    if path in ("", text, ":memory:"):
        raise ValueError("must name a file: sqlite:///relative.sqlite3 or sqlite:////absolute")
    return Database(postgresql=False, name=str(Path(unquote(path)).resolve()))


def _redis_url(text: str) -> str:
    if split_url(text).scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must begin with redis://, rediss:// or unix://")
    return text


def _given_with_postgresql(
    get: _Reader, name: str, database: Database, parse: Callable[[str], T]
) -> T | None:
    value = get.parsed(name, parse)
    if value is None and database.postgresql:
        # Several hosts share such a database, and a key in one host's folder would split them.
        raise BadVariableError(name, "must be given once DATABASE_URL is postgresql://")
    return value


def _alert_emails(get: _Reader, mail: MailServer | None) -> tuple[str, ...]:
    addresses = get.items("ALERT_EMAILS", mail_address)
    if addresses and mail is None:
        raise BadVariableError("EMAIL_URL", "must be given once ALERT_EMAILS is set")
    return tuple(dict.fromkeys(addresses))


def _alert_webhook_key(get: _Reader, webhook: str) -> bytes:
    key = get.parsed("ALERT_WEBHOOK_SECRET", webhook_key)
    if key is None and webhook:
        # Unsigned, anybody could send the receiver such alerts.
        raise BadVariableError("ALERT_WEBHOOK_SECRET", "must be given with ALERT_WEBHOOK_URL")
    return key or b""


def _secret_key(text: str) -> str:
    if len(text) < 32:
        raise ValueError("must have at least 32 characters")
    return text


def _fernet_keys(text: str) -> tuple[str, ...]:
    keys = tuple(_split(text))
    if not keys:
        raise ValueError("holds no key")
    for position, key in enumerate(keys, start=1):
        try:
            whole = len(urlsafe_b64decode(key)) == 32
        except ValueError:
            whole = False
        if not whole:
            raise ValueError(f"key {position} is not a Fernet key (32 bytes in URL-safe base64)")
    return keys


def _username(text: str) -> str:
    if not re.fullmatch(r"[\w.@+-]{1,150}", text):
        raise ValueError("may hold letters, digits and @ . + - _ only, at most 150")
    return text


def _credential(text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("may hold neither spaces nor characters beyond ASCII")
    return text


def _file(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"there is no file {text!r}")
    return path


def _origin(text: str) -> str:
    url = split_url(text)
    plain = not (url.path.strip("/") or url.query or url.fragment or url.username)
    if url.scheme not in ("http", "https") or not url.hostname or not plain:
        raise ValueError(f"must be like https://gateway.example, without a path, not {text!r}")
    return f"{url.scheme}://{url.netloc.lower()}"


def _cors_origin(text: str) -> str:
    return text if text == "*" else _origin(text)


def _host_pattern(text: str) -> str:
    if text != "*" and not re.fullmatch(r"\.?[A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]", text):
        raise ValueError(f"must be host names without port, split by commas, not {text!r}")
    return text


def _allowed_hosts(given: tuple[str, ...], public_url: str) -> tuple[str, ...]:
    public = _in_url(urlsplit(public_url).hostname or "")
    return tuple(dict.fromkeys((*given, *LOOPBACK_NAMES, public)))


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an address or a network (10.0.0.0/8)") from None


def _private_upstreams(get: _Reader, *, embedded: bool) -> tuple[str, ...]:
    value = get.text("ALLOW_PRIVATE_UPSTREAMS").lower()
    if value in ("1", "true"):
        return ANY_UPSTREAM
    if value in ("0", "false"):
        return ()
    default = LOOPBACK_UPSTREAMS if embedded else ()
    return get.items("ALLOW_PRIVATE_UPSTREAMS", _host_and_port) or default


def _host_and_port(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError(f"must be 1 or host:port pairs split by commas, not {text!r}")
    return f"{_in_url(_host(host))}:{int(port)}".lower()
