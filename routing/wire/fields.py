"""Typed reading of a request's fields: a wrong one is refused by its path."""

from collections.abc import Iterator, Set
from typing import Any

from keys.errors import InvalidRequestError

Fields = dict[str, Any]


def flag(fields: Fields, name: str, path: str = "") -> bool | None:
    value = fields.get(name)
    if value is not None and type(value) is not bool:
        raise wrong(path + name, "must be true or false")
    return value


def integer(fields: Fields, name: str, most: int, path: str = "") -> int | None:
    """A count from 1 to `most`."""
    value = fields.get(name)
    if value is None:
        return None
    # A bool is an int in Python, and 1e3 is a float in JSON: neither is a count.
    if type(value) is not int or not 1 <= value <= most:
        raise wrong(path + name, f"must be an integer from 1 to {most}")
    return value


def number(fields: Fields, name: str, path: str = "") -> float | None:
    value = fields.get(name)
    if value is None or type(value) in (int, float):
        return value
    raise wrong(path + name, "must be a number")


def text(fields: Fields, name: str, path: str = "") -> str:
    """A string that must be there."""
    value = fields.get(name)
    if type(value) is not str:
        raise wrong(path + name, "must be a string")
    return value


def optional_text(fields: Fields, name: str, path: str = "") -> str:
    """A string; "" when absent."""
    return "" if fields.get(name) is None else text(fields, name, path)


def label(fields: Fields, name: str, longest: int, path: str = "") -> str:
    """A short string that databases can store; "" when absent."""
    value = fields.get(name)
    if value is None:
        return ""
    if type(value) is not str or len(value) > longest or "\0" in value:
        raise wrong(path + name, f"must be a string of at most {longest} characters")
    return value


def member(fields: Fields, name: str, path: str = "") -> Fields | None:
    """An object; None when absent."""
    value = fields.get(name)
    if value is not None and type(value) is not dict:
        raise wrong(path + name, "must be an object")
    return value


def members(fields: Fields, name: str, path: str = "") -> Iterator[tuple[str, Fields]]:
    """Path and object of each item of an array; nothing when absent."""
    value = fields.get(name)
    if value is None:
        return
    if type(value) is not list:
        raise wrong(path + name, "must be an array")
    for index, item in enumerate(value):
        at = f"{path}{name}[{index}]"
        if type(item) is not dict:
            raise wrong(at, "must be an object")
        yield at + ".", item


def only(fields: Fields, known: Set[str], path: str = "") -> None:
    """Refuse, by name, the first field that is said and not known."""
    for name, value in fields.items():
        if value is not None and name not in known:
            raise unsayable(path + name[:100])


def wrong(param: str, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"'{param}' {why}", param=param)


def unsayable(param: str, why: str = "") -> InvalidRequestError:
    """The refusal of what the chosen provider's format has no words for."""
    reason = f": {why}" if why else ""
    return InvalidRequestError(
        f"'{param}' is not supported by the provider of this model{reason}", param=param
    )
