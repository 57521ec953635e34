"""Where a provider lives: its base URL parsed once, and the origin that its credential is for."""

import httpx2

# As each SDK has them; written out so that no environment variable of an SDK moves a provider.
DEFAULT_BASE_URLS = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "demo": "",
}
_DEFAULT_PORTS = {"https": 443, "http": 80}
_LONGEST_BASE_URL = 500


class BaseUrlError(ValueError):
    """A base URL that no provider can have; the message says why."""


def parse_base_url(text: str) -> httpx2.URL:
    """The one parsed form that the checks, the SDK and the connection share.

    Raises:
        BaseUrlError: not http or https, no host, or with user, query or fragment.
    """
    if not text.isprintable() or len(text) > _LONGEST_BASE_URL or " " in text or "\\" in text:
        raise BaseUrlError("A base URL holds no spaces, backslashes or control characters.")
    try:
        url = httpx2.URL(text)
    except (httpx2.InvalidURL, ValueError) as error:
        raise BaseUrlError("This is not a URL.") from error
    if url.scheme not in _DEFAULT_PORTS:
        raise BaseUrlError("A base URL begins with https:// or http://.")
    if not url.raw_host:
        raise BaseUrlError("A base URL names a host.")
    if not 0 < host_and_port(url)[1] < 2**16:
        raise BaseUrlError("A port is a number from 1 to 65535.")
    if url.userinfo or "@" in text:
        raise BaseUrlError("A base URL holds no user or password.")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise BaseUrlError("A base URL has no query and no fragment.")
    return url


def base_url_of(kind: str, text: str) -> str:
    return text or DEFAULT_BASE_URLS[kind]


def host_and_port(url: httpx2.URL) -> tuple[str, int]:
    """ASCII host, IPv6 without brackets, and the port that a connection goes to."""
    port = _DEFAULT_PORTS[url.scheme] if url.port is None else url.port
    return url.raw_host.decode("ascii"), port


def origin_of(kind: str, base_url: str) -> str:
    """Scheme, host and port in one spelling; a kind that calls nobody has none."""
    text = base_url_of(kind, base_url)
    if not text:
        return kind
    url = parse_base_url(text)
    host, port = host_and_port(url)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}:{port}"
