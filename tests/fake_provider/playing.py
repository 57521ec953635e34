"""Putting an answer on the wire, with whatever the behaviour does to it on the way."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

from tests.fake_provider.behaviour import Behaviour
from tests.fake_provider.seen import Seen

REASONS = {200: "OK", 204: "No Content", 302: "Found", 307: "Temporary Redirect"}


class Words(Protocol):
    """A wire format, as far as errors go."""

    def error_body(self, behaviour: Behaviour) -> dict[str, Any]: ...
    def error_frame(self, behaviour: Behaviour) -> bytes: ...


async def play(
    seen: Seen,
    *,
    words: Words,
    whole: dict[str, Any] | None = None,
    frames: Sequence[tuple[bytes, int]] = (),
    tokens: int = 0,
) -> None:
    """Send a whole answer or a stream's frames, or fail as the behaviour says."""
    behaviour = seen.behaviour
    if behaviour.delay_seconds:
        await asyncio.sleep(behaviour.delay_seconds)
    if behaviour.before_headers == "stall":
        await asyncio.Event().wait()
    elif behaviour.before_headers == "reset":
        seen.connection.reset()
    elif behaviour.before_headers == "close":
        seen.connection.close()
    elif behaviour.body is not None:
        await _send_whole(seen, behaviour.body)
    elif behaviour.status != 200:
        await _send_whole(seen, _encoded(words.error_body(behaviour)))
    elif frames:
        await _send_stream(seen, frames, words)
    else:
        await _send_whole(seen, _encoded(whole or {}))
        seen.output_tokens = tokens


def _encoded(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _head(behaviour: Behaviour, content_type: str, framing: str) -> bytes:
    headers = {
        "content-type": content_type,
        "x-request-id": "req_fake",
        "request-id": "req_fake",
        "x-ratelimit-remaining-requests": "9999",
    } | dict(behaviour.headers)
    lines = [f"HTTP/1.1 {behaviour.status} {REASONS.get(behaviour.status, 'Fault')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, framing, "", ""]).encode("latin-1")


async def _send_whole(seen: Seen, body: bytes) -> None:
    framing = f"content-length: {len(body)}" if seen.behaviour.status != 204 else "x-no-body: 1"
    await seen.connection.send(_head(seen.behaviour, "application/json", framing) + body)


async def _send_stream(seen: Seen, frames: Sequence[tuple[bytes, int]], words: Words) -> None:
    behaviour, connection = seen.behaviour, seen.connection
    head = _head(behaviour, "text/event-stream; charset=utf-8", "transfer-encoding: chunked")
    await connection.send(head)
    if behaviour.bom:
        await _send_piece(seen, b"\xef\xbb\xbf")
    for number, (frame, tokens) in enumerate(frames):
        if await _ends_here(seen, number, frame, words):
            return
        if number:
            await asyncio.sleep(behaviour.word_seconds)
        await _send_piece(seen, _dressed(frame, behaviour))
        seen.output_tokens += tokens
        while behaviour.endless and tokens:
            await asyncio.sleep(behaviour.word_seconds)
            await _send_piece(seen, frame)
            seen.output_tokens += tokens
    await connection.send(b"0\r\n\r\n")


async def _ends_here(seen: Seen, number: int, frame: bytes, words: Words) -> bool:
    """Do what is scripted for this point of the stream; whether it is the end of it."""
    behaviour, connection = seen.behaviour, seen.connection
    if number == behaviour.stall_after:
        await asyncio.Event().wait()
    if number == behaviour.malformed_after:
        await _send_piece(seen, frame[: len(frame) // 2] + b"\n\n")
    if number == behaviour.error_after:
        await _send_piece(seen, words.error_frame(behaviour))
    if number in {behaviour.cut_after, behaviour.end_after} and behaviour.half_frame:
        await _send_piece(seen, frame[: len(frame) // 2])
    if number == behaviour.cut_after:
        # What was written is to arrive: a reset throws away what the socket still holds.
        await asyncio.sleep(0.1)
        connection.reset()
        return True
    if number in {behaviour.end_after, behaviour.error_after}:
        await connection.send(b"0\r\n\r\n")
        return True
    return False


def _dressed(frame: bytes, behaviour: Behaviour) -> bytes:
    if behaviour.comments:
        frame = b": THE FAKE IS THINKING\n\n" + frame
    return frame.replace(b"\n", b"\r\n") if behaviour.crlf else frame


async def _send_piece(seen: Seen, data: bytes) -> None:
    size = seen.behaviour.split or len(data)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        await seen.connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        if seen.behaviour.split:
            await asyncio.sleep(0)
