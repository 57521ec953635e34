"""Output tokens guessed from what passed, for answers that come without usage."""

from typing import Any

BYTES_PER_TOKEN = 4
# On average over a text, in any common language.
LONGEST_TOKEN_BYTES = 7
# The same of a text whose deltas are single words, names and numbers.
LONGEST_WORD_BYTES = 16
# Of so many deltas one may hold several words without the others doing so.
BUNDLES_ONE_IN = 10
# Members of a message or delta that are labels, not output.
_LABELS = frozenset({"role", "id", "type", "index", "name", "format", "signature", "expires_at"})


class OutputMeter:
    """Counts content as it passes.

    Providers send a delta for each token, or several tokens in one. Where deltas are as short as
    tokens are, or hold a word each, their number is the truth; longer ones are taken at about
    four bytes a token.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._deltas = 0
        self._bundles = 0

    def add(self, content: Any) -> bool:
        """Count a delta; whether there was anything in it."""
        length = text_length(content)
        if not length:
            return False
        self._bytes += length
        self._deltas += 1
        if length >= LONGEST_TOKEN_BYTES and _holds_several_words(content):
            self._bundles += 1
        return True

    @property
    def tokens(self) -> int:
        bundled = self._bundles * BUNDLES_ONE_IN > self._deltas
        longest = LONGEST_TOKEN_BYTES if bundled else LONGEST_WORD_BYTES
        if self._bytes < longest * self._deltas:
            return self._deltas
        return tokens_of(self._bytes)


def tokens_of(length: int) -> int:
    return -(-length // BYTES_PER_TOKEN)


def text_length(content: Any, depth: int = 8) -> int:
    """UTF-8 bytes of all text in a piece of an answer, reasoning and tool arguments included.

    Args:
        depth: how far to look in; no provider nests its text further.
    """
    if type(content) is str:
        return len(content) if content.isascii() else len(content.encode())
    if depth == 0:
        return 0
    if type(content) is dict:
        length = 0
        for key, value in content.items():
            if key not in _LABELS and value is not None:
                length += text_length(value, depth - 1)
        return length
    if type(content) is list:
        return sum(text_length(item, depth - 1) for item in content)
    return 0


def _holds_several_words(content: Any, depth: int = 8) -> bool:
    if type(content) is str:
        return " " in content.strip()
    if depth == 0:
        return False
    if type(content) is dict:
        content = [value for key, value in content.items() if key not in _LABELS]
    return type(content) is list and any(_holds_several_words(one, depth - 1) for one in content)
