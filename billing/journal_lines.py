"""The journal's words: one line is `length crc json`, length and CRC-32 of the JSON in hex.

A line is believed only when both agree. JSON holds no raw newline and no NUL, so after a damaged
stretch reading goes on at the next newline, and the zeros of space that was allocated but not
written yet end a file. A line that was being written when the process died has no newline: it is
the end, not damage.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from zlib import crc32

import orjson

from billing.entries import Admission, Attempt, Charge, Entry, Unfinished
from billing.sanitizing import sanitized

_HEADER_BYTES = 18
# How a line starts, or all of one that was cut before it got so far.
_BEGUN = re.compile(rb"[0-9a-f]{8} [0-9a-f]{8} \{|[0-9a-f]{8} [0-9a-f]{0,8} ?\Z|[0-9a-f]{1,8}\Z")


def admit_line(admission: Admission) -> bytes:
    try:
        return _line({"admit": admission})
    except TypeError:  # a lone surrogate, or a figure beyond 64 bits
        return _line({"admit": replace(admission, template=sanitized(admission.template))})


def progress_line(request_id: str, output_tokens: int) -> bytes:
    return _line({"progress": [request_id, output_tokens]})


def paid_line(entries: Sequence[Entry]) -> bytes:
    return _entries_line("paid", entries)


def end_line(entries: Sequence[Entry]) -> bytes:
    return _entries_line("end", entries)


def _entries_line(word: str, entries: Sequence[Entry]) -> bytes:
    try:
        return _line({word: entries})
    except TypeError:
        return _line({word: [sanitized(entry) for entry in entries]})


def _line(record: dict[str, Any]) -> bytes:
    body = orjson.dumps(record)
    return b"%08x %08x %b\n" % (len(body), crc32(body), body)


def read_lines(data: bytes) -> Iterator[dict[str, Any] | None]:
    """Every record in order, and None for each stretch that cannot be believed."""
    position, end = 0, len(data.rstrip(b"\0"))
    while position < end:
        if data[position] in b"\0\n":
            position += 1
            continue
        body = _body_at(data, position)
        if body is not None:
            yield _record(body)
            position += _HEADER_BYTES + len(body)
            continue
        newline = data.find(b"\n", position, end)
        if newline < 0:
            if not _BEGUN.match(data, position, end):
                yield None
            return
        # Zeros were never written: a page that was lost may end in the middle of a line.
        after_hole = data.rfind(b"\0", position, newline) + 1
        resumed = _body_at(data, after_hole) if after_hole else None
        yield None
        position = after_hole if resumed is not None else newline + 1


def _body_at(data: bytes, position: int) -> bytes | None:
    try:
        length = int(data[position : position + 8], 16)
        crc = int(data[position + 9 : position + 17], 16)
    except ValueError:
        return None
    start = position + _HEADER_BYTES
    body = data[start : start + length]
    return body if body and len(body) == length and crc32(body) == crc else None


def _record(body: bytes) -> dict[str, Any] | None:
    try:
        record = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None


def follow(record: dict[str, Any], running: dict[str, Unfinished]) -> list[Entry]:
    """Take one record into account: what runs after it; returns the entries that it ends with."""
    match record:
        case {"admit": admitted}:
            admission = _admission(admitted)
            before = running.get(admission.template.request_id)
            paid = before.paid if before else ()
            running[admission.template.request_id] = Unfinished(admission, paid=paid)
        case {"progress": [request_id, output_tokens]} if request_id in running:
            running[request_id] = replace(running[request_id], output_tokens=output_tokens)
        case {"paid": [{"request_id": request_id}, *_] as paid} if request_id in running:
            before = running[request_id]
            noted = (*before.paid, *map(_entry, paid))
            running[request_id] = replace(before, paid=noted, is_between=True)
        case {"end": ended}:
            entries = [_entry(fields) for fields in ended]
            for entry in entries:
                running.pop(entry.request_id, None)
            return entries
    return []


def _admission(fields: dict[str, Any]) -> Admission:
    return Admission(
        template=_entry(fields["template"]),
        holds=tuple((counter, unit, amount) for counter, unit, amount in fields["holds"]),
        input_price=fields["input_price"],
        output_price=fields["output_price"],
    )


def _entry(fields: dict[str, Any]) -> Entry:
    fields["started_at"] = datetime.fromisoformat(fields["started_at"])
    fields["flags"] = tuple(fields["flags"])
    fields["attempts"] = tuple(_attempt(attempt) for attempt in fields["attempts"])
    fields["charges"] = tuple(Charge(**charge) for charge in fields["charges"])
    return Entry(**fields)


def _attempt(fields: dict[str, Any]) -> Attempt:
    fields["started_at"] = datetime.fromisoformat(fields["started_at"])
    return Attempt(**fields)
