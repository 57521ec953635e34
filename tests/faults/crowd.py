"""Many clients in one thread, on plain sockets, that behave as SDKs do about retries."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

ANSWER_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 8.0
# Once all that fits was served: whoever asks now must be refused too.
GOING_ON_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Reply:
    """Attributes: status: 0 where the connection broke. tries: requests made for it."""

    status: int
    headers: dict[str, str]
    body: bytes
    tries: int = 1

    @property
    def is_whole(self) -> bool:
        """Served to the end: a stream up to its `[DONE]`."""
        if self.status != 200:
            return False
        return b"[DONE]" in self.body if self.is_stream else self.body.rstrip()[-1:] == b"}"

    @property
    def is_stream(self) -> bool:
        return self.headers.get("content-type", "").startswith("text/event-stream")

    @property
    def end(self) -> str:
        """The status, and of a refusal whether and when to ask again."""
        told = (self.headers.get(name, "") for name in ("retry-after", "x-should-retry"))
        return " ".join([str(self.status), *told]).rstrip()

    @property
    def may_be_retried(self) -> bool:
        if self.status not in (429, 503) or self.headers.get("x-should-retry") == "false":
            return False
        return 0 < float(self.headers.get("retry-after", 0)) <= 5


def request_bytes(secret: str, body: dict[str, Any], *, user: str = "") -> bytes:
    encoded = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(encoded)}\r\n" + (f"X-User-ID: {user}\r\n" if user else "")
    )
    return head.encode() + b"\r\n" + encoded


async def ask(port: int, request: bytes, *, start: asyncio.Barrier | None = None) -> Reply:
    """One request; with a barrier it is sent when all have connected."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                if start is not None:
                    await start.wait()
                writer.write(request)
                return _parsed(await reader.read())
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return Reply(0, {}, b"")


class Crowd:
    """Clients of one round, each of whom asks again while the gateway says that it is worth it.

    Args:
        enough: with so many served, those who still wait go on for a moment and then give up.
    """

    def __init__(self, port: int, *, patience_seconds: float, enough: int) -> None:
        self._port = port
        self._deadline = time.monotonic() + patience_seconds
        self._missing = enough
        self._over = asyncio.Event()
        self._random = random.Random(port)  # noqa: S311 - moments, not secrets

    async def ask_at_once(self, requests: list[bytes]) -> list[Reply]:
        """Everybody connects, then everybody sends in the same moment."""
        start = asyncio.Barrier(len(requests))
        return await asyncio.gather(*(self._ask_until_settled(one, start) for one in requests))

    async def _ask_until_settled(self, request: bytes, start: asyncio.Barrier) -> Reply:
        reply, tries = await ask(self._port, request, start=start), 1
        while reply.may_be_retried:
            # Spread out, and less and less often: all in one moment was the first time's.
            pause = float(reply.headers["retry-after"]) * self._random.uniform(1, 3)
            if await self._gives_up_within(min(LONGEST_PAUSE_SECONDS, pause * 2 ** (tries - 1))):
                break
            reply, tries = await ask(self._port, request), tries + 1
        if reply.is_whole:
            self._missing -= 1
            if not self._missing:
                asyncio.get_running_loop().call_later(GOING_ON_SECONDS, self._over.set)
        return replace(reply, tries=tries)

    async def _gives_up_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._over.wait(), seconds)
        return self._over.is_set() or time.monotonic() >= self._deadline


def _parsed(raw: bytes) -> Reply:
    head, found, body = raw.partition(b"\r\n\r\n")
    if not found:
        return Reply(0, {}, raw)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    return Reply(int(first.split(" ")[1]), headers, body)
