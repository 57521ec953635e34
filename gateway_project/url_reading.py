"""Splits the URLs of the environment; only the standard library, as in `environment`."""

from urllib.parse import SplitResult, urlsplit


def split_url(text: str) -> SplitResult:
    """Raises ValueError with the problem, which repeats nothing: the text may hold a password."""
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError:
        raise ValueError("is not a URL (is a special character not percent-encoded?)") from None
    return url
