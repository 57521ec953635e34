"""The variables that say where alerts go. Parse functions raise ValueError with the problem.

Only the standard library is imported, as in `gateway_project.environment`, which reads these.
Neither a password nor a webhook's address is ever repeated: such an address may be a secret.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from gateway_project.url_reading import split_url

_DEFAULT_PORTS = {"smtp": 25, "smtp+tls": 587, "smtps": 465, "smtp+ssl": 465}
_ADDRESS = re.compile(r"[^\s@<>(),;:\"\\\[\]]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII)
_WHSEC = "whsec_"
# Whoever receives one alert could try out shorter keys on it.
_SHORTEST_SECRET = 16


# No repr: it would carry the password into tracebacks.
@dataclass(frozen=True, slots=True, repr=False)
class MailServer:
    """Who takes our mail.

    Attributes:
        starttls: plain at first, encrypted before anything is said.
        ssl: encrypted from the first byte.
        sender: empty when the URL names none.
    """

    host: str
    port: int
    user: str
    password: str
    starttls: bool
    ssl: bool
    sender: str


def mail_server(text: str) -> MailServer:
    url = split_url(text)
    if url.scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with smtp://, smtp+tls:// (STARTTLS) or smtps://")
    if not url.hostname or url.path.strip("/") or url.fragment:
        raise ValueError("must be like smtp://user:password@host:port?from=me@example.com")
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    if options.keys() - {"from"}:
        raise ValueError("knows no option but ?from=")
    return MailServer(
        host=unquote(url.hostname),
        port=url.port or _DEFAULT_PORTS[url.scheme],
        user=unquote(url.username or ""),
        password=unquote(url.password or ""),
        starttls=url.scheme == "smtp+tls",
        ssl=url.scheme in ("smtps", "smtp+ssl"),
        sender=mail_address(options["from"]) if "from" in options else "",
    )


def mail_address(text: str) -> str:
    if len(text) > 254 or not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a mail address")
    return text


def webhook_url(text: str) -> str:
    url = split_url(text)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if url.username or url.password:
        raise ValueError("may hold no user and no password; the signature says who we are")
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("may hold neither spaces nor characters beyond ASCII")
    return text


def webhook_key(text: str) -> bytes:
    """The key that signs: what `whsec_` encodes in base64, else the text itself."""
    if not text.startswith(_WHSEC):
        if len(text) < _SHORTEST_SECRET:
            raise ValueError(f"must have at least {_SHORTEST_SECRET} characters")
        return text.encode()
    try:
        key = b64decode(text.removeprefix(_WHSEC), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("begins with whsec_ but is no base64 after it")
    if len(key) < _SHORTEST_SECRET:
        raise ValueError(f"must encode at least {_SHORTEST_SECRET} bytes after whsec_")
    return key
