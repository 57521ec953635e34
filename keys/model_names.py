"""Which model names exist, as the room that has the models tells; for hints on pages only.

A name may be allowed before its model is made, so an unknown one is worth a hint, no refusal.
"""

from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from keys.validation import suggestion

_sources: list[Callable[[], Iterable[str]]] = []


def offer_names(source: Callable[[], Iterable[str]]) -> None:
    """Tell where to ask for the names and patterns that callers can use."""
    _sources.append(source)


def hints(names: Iterable[str]) -> list[str]:
    """One sentence for each name or pattern that no model has at the moment."""
    known = [name for source in _sources for name in source()]
    return [_hint(name, known) for name in names if not _is_known(name, known)]


def _is_known(name: str, known: list[str]) -> bool:
    return any(fnmatchcase(other, name) or fnmatchcase(name, other) for other in known)


def _hint(name: str, known: list[str]) -> str:
    near = suggestion(name, known)
    meant = f" Did you mean “{near}”?" if near else ""
    return f"There is no model “{name}” yet.{meant}"
