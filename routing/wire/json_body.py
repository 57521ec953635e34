"""JSON bodies: read strictly, and changed in place without re-serialising the rest.

What two parsers could read differently is refused: a provider must see what we checked.
A body that was accepted may have single top-level members set or removed in its bytes;
everything else keeps its order, numbers, escapes and whitespace.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import orjson

from keys.errors import InvalidRequestError

DEEPEST_NESTING = 64
# A duplicate key is named by a second, slower read; a larger body is refused without the name.
_LARGEST_BODY_EXPLAINED = 1 << 20

_SPACE = b" \t\n\r"
# Possessive: a string full of escapes must not leave a backtracking state per escape.
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING_OR_BRACKET = re.compile(_STRING + rb"|[\[\]{}]", re.DOTALL)
_STRING_OR_SCALAR = re.compile(_STRING + rb"|[^\s,\]}]++", re.DOTALL)
_KEY_AT_END = re.compile(r'(?<!\\)"([^"\\]{1,100})"\s*:\s*\Z')
# How a member's name could be written otherwise: the names that are spliced are a-z and "_".
_ESCAPED_LETTERS = (b"\\u005", b"\\u006", b"\\u007")
_ESCAPED_COLON = re.compile(rb"(?<!\\)(?:\\\\)*+\\u003[aA]")


def decode(raw: bytes) -> dict[str, Any]:
    """Read a request body: one JSON object in UTF-8 that every parser reads alike.

    Raises:
        InvalidRequestError: malformed JSON, NaN or a number beyond a double, duplicate keys at
            any depth, a BOM, bad UTF-8, a lone surrogate, nesting over 64. HTTP 400.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _malformed(error) from None
    if type(body) is not dict:
        raise InvalidRequestError("The request body must be a JSON object")
    _check_depth(raw, body)
    _check_duplicates(raw, body)
    return body


def encode(value: object) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)


def replace_member(raw: bytes, key: str, value: bytes) -> bytes:
    """Give the top-level member `key`, which must be there, a new value, itself JSON."""
    _, start, end = _find_member(raw, key)
    return b"".join((raw[:start], value, raw[end:]))


def add_member(raw: bytes, key: str, value: bytes) -> bytes:
    """Add the top-level member `key`, which must not be there, at the end."""
    close = raw.rindex(b"}")
    comma = b"" if raw[:close].rstrip(_SPACE).endswith(b"{") else b","
    return b"".join((raw[:close], comma, orjson.dumps(key), b":", value, raw[close:]))


def remove_member(raw: bytes, key: str) -> bytes:
    """Take out the top-level member `key`, which must be there."""
    start, _, end = _find_member(raw, key)
    after = _skip_space(raw, end)
    if raw[after : after + 1] == b",":
        return raw[:start] + raw[after + 1 :]
    return raw[:start].rstrip(_SPACE).removesuffix(b",") + raw[end:]


def _malformed(error: orjson.JSONDecodeError) -> InvalidRequestError:
    if "infinity" in error.msg:
        # The parser stopped at the number: its key, if it has one, is what comes before.
        key = _KEY_AT_END.search(error.doc[max(0, error.pos - 200) : error.pos])
        if key is not None:
            return InvalidRequestError(f"'{key[1]}' is too large a number", param=key[1])
    return InvalidRequestError(f"The request body is not valid JSON: {error}")


def _check_depth(raw: bytes, body: dict[str, Any]) -> None:
    if raw.count(b"{") + raw.count(b"[") <= DEEPEST_NESTING:
        return
    level: list[Any] = [body]
    for _ in range(DEEPEST_NESTING):
        level = [
            value
            for container in level
            for value in (container.values() if type(container) is dict else container)
            if type(value) is dict or type(value) is list
        ]
        if not level:
            return
    raise InvalidRequestError(f"The request body is nested deeper than {DEEPEST_NESTING} levels")


def _check_duplicates(raw: bytes, body: dict[str, Any]) -> None:
    # Every key brings one colon, and a colon in a string stays one: fewer after a round trip
    # means that the parser dropped a member. Escaped colons are the only other difference.
    kept = orjson.dumps(body).count(b":")
    sent = raw.count(b":")
    if b"\\u003" in raw:
        sent += len(_ESCAPED_COLON.findall(raw))
    if kept != sent:
        key = _find_duplicate(raw) if len(raw) <= _LARGEST_BODY_EXPLAINED else None
        raise InvalidRequestError("The request body has a duplicate key", param=key)


class _DuplicateKeyError(Exception):
    pass


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _DuplicateKeyError(key[:100])
            seen.add(key)
    return members


def _find_duplicate(raw: bytes) -> str | None:
    try:
        json.loads(raw, object_pairs_hook=_refuse_duplicates, parse_int=float)
    except _DuplicateKeyError as error:
        return str(error)
    return None


def _find_member(raw: bytes, key: str) -> tuple[int, int, int]:
    """Where a top-level member is: start of its key, start and end of its value."""
    token = b'"%b"' % key.encode()
    start = raw.find(token)
    # The member is at the top, spelled plainly or with escapes: where nothing could be such an
    # escape, a single occurrence is its key.
    if start > 0 and raw.find(token, start + 1) < 0 and not _may_escape_names(raw):
        value = _skip_space(raw, _skip_space(raw, start + len(token)) + 1)
        return start, value, _end_of_value(raw, value)
    for name, start, value in _members(raw):
        if name == key:
            return start, value, _end_of_value(raw, value)
    raise KeyError(key)


def _may_escape_names(raw: bytes) -> bool:
    return b"\\u00" in raw and any(escape in raw for escape in _ESCAPED_LETTERS)


def _members(raw: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, start of key and start of value of each top-level member."""
    at = _skip_space(raw, raw.index(b"{") + 1)
    while raw[at : at + 1] != b"}":
        end_of_key = _end_of_value(raw, at)
        value = _skip_space(raw, _skip_space(raw, end_of_key) + 1)
        yield orjson.loads(raw[at:end_of_key]), at, value
        at = _skip_space(raw, _end_of_value(raw, value))
        if raw[at : at + 1] == b",":
            at = _skip_space(raw, at + 1)


def _skip_space(raw: bytes, at: int) -> int:
    while raw[at : at + 1] in (b" ", b"\n", b"\t", b"\r"):
        at += 1
    return at


def _end_of_value(raw: bytes, start: int) -> int:
    if raw[start : start + 1] not in (b"{", b"["):
        match = _STRING_OR_SCALAR.match(raw, start)
        if match is None:
            raise ValueError("not a JSON value")
        return match.end()
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(raw, start):
        token = match[0]
        if token in (b"{", b"["):
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return match.end()
    raise ValueError("not a JSON value")
