"""CSV as bytes: RFC 4180, and nothing in a text cell that a spreadsheet would run."""

import csv
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from typing import Any

# Source: OWASP ASVS 5.0, 1.2.10. Line feed is added: a quoted cell may begin with one.
_RUNS = frozenset("=+-@\t\r\n\0")
_ROWS_AT_ONCE = 500
_BOM = "\N{BYTE ORDER MARK}"


def guarded(text: str) -> str:
    """The text with an apostrophe before it where a spreadsheet would take it for a formula.

    Full-width and other forms of the signs count as the signs: spreadsheets fold them.
    """
    if not text:
        return text
    first = text[0]
    if first in _RUNS or (first > "\x7f" and unicodedata.normalize("NFKC", first)[0] in _RUNS):
        return f"'{text}"
    return text


def csv_bytes(
    header: Iterable[str], rows: Iterable[Iterable[Any]], *, excel: bool = False
) -> Iterator[bytes]:
    r"""Rows as pieces of one CSV, made as they are asked for. Cells are written as they are.

    Args:
        excel: a byte order mark and semicolons, as Excel expects them in much of the world.
    """
    pieces: list[str] = [_BOM] if excel else []
    write: Callable[[Iterable[Any]], object] = csv.writer(
        _Appender(pieces), delimiter=";" if excel else ",", lineterminator="\r\n"
    ).writerow
    write(header)
    for row in rows:
        write(row)
        if len(pieces) >= _ROWS_AT_ONCE:
            yield "".join(pieces).encode()
            pieces.clear()
    yield "".join(pieces).encode()


class _Appender:
    """What the csv module writes to."""

    def __init__(self, pieces: list[str]) -> None:
        self.write = pieces.append
