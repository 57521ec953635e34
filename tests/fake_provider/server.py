"""The fake provider itself: a listener, the scripts it follows, and what it has seen."""

import asyncio
import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from tests.fake_provider import anthropic_words, openai_words
from tests.fake_provider.answer import answer
from tests.fake_provider.behaviour import NAMED, Behaviour
from tests.fake_provider.http_connection import HttpConnection, Request
from tests.fake_provider.playing import play
from tests.fake_provider.seen import Seen
from tests.loopback import free_port, wait_until

FORMATS = {"/chat/completions": openai_words, "/messages": anthropic_words}


class FakeProvider:
    """A provider that listens on loopback, in a thread of its own.

    Args:
        remember: keep what was seen; a measurement has no use for it.
    """

    def __init__(self, *, remember: bool = True) -> None:
        self._remember = remember
        self._scripts: dict[str, deque[Behaviour]] = defaultdict(deque)
        self._prepared: dict[tuple[str, bytes, Behaviour], list[tuple[bytes, int]]] = {}
        self._loop = asyncio.new_event_loop()
        self._listener: asyncio.Server | None = None
        self.port = free_port()
        self.seen: list[Seen] = []
        self.connections: list[HttpConnection] = []

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def anthropic_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, model: str, *behaviours: Behaviour) -> None:
        """What the next requests for a model meet, in order; the last one goes on for ever."""
        self._scripts[model] = deque(behaviours)

    def seen_of(self, model: str) -> list[Seen]:
        return [seen for seen in list(self.seen) if seen.json.get("model") == model]

    def wait_for(self, so: Callable[["FakeProvider"], bool], what: str) -> None:
        wait_until(lambda: so(self), what, seconds=20)

    # The listener, from any thread.

    def start(self) -> "FakeProvider":
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.accept()
        return self

    def accept(self) -> None:
        """Listen, on the same port as ever."""
        self._run(self._listen())

    def refuse(self) -> None:
        """Stop listening, and drop what is open: from now on connections are refused."""
        self._run(self._hang_up())

    def stop(self) -> None:
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _run(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def listen_here(self) -> None:
        """Listen on the running event loop instead of a thread's."""
        self._loop = asyncio.get_running_loop()
        await self._listen()

    async def _listen(self) -> None:
        self._listener = await self._loop.create_server(
            lambda: HttpConnection(self._serve, self._opened), "127.0.0.1", self.port, backlog=1024
        )

    async def _hang_up(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in self.connections:
            if connection.closed_at is None:
                connection.reset()

    def _opened(self, connection: HttpConnection) -> None:
        if self._remember:
            self.connections.append(connection)

    # One request.

    async def _serve(self, connection: HttpConnection, request: Request) -> None:
        body = _json(request.body)
        model = str(body.get("model", ""))
        seen = Seen(request, connection, self._next_behaviour(model))
        if self._remember:
            self.seen.append(seen)
        try:
            await self._answer(seen, body)
            seen.finished = True
        except asyncio.CancelledError:
            seen.left_at = connection.closed_at
            raise

    def _next_behaviour(self, model: str) -> Behaviour:
        script = self._scripts.get(model)
        if script:
            return script.popleft() if len(script) > 1 else script[0]
        # `anything/NAME+anything` behaves as NAME: a caller may want a model of its own.
        return NAMED.get(model.rpartition("/")[2].partition("+")[0], Behaviour())

    async def _answer(self, seen: Seen, body: dict[str, Any]) -> None:
        path = seen.request.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            counted = {"input_tokens": max(1, len(seen.request.body) // 4)}
            await play(seen, whole=counted, words=anthropic_words)
        elif path.endswith("/models"):
            await play(seen, whole={"object": "list", "data": []}, words=openai_words)
        else:
            words = next((FORMATS[end] for end in FORMATS if path.endswith(end)), openai_words)
            said = answer(body, len(seen.request.body), seen.behaviour)
            seen.input_tokens = said.input_tokens
            if body.get("stream"):
                await play(seen, frames=self._frames(seen, body), words=words)
            else:
                whole = words.whole(said, str(body.get("model")), seen.behaviour)
                await play(seen, whole=whole, words=words, tokens=said.output_tokens)

    def _frames(self, seen: Seen, body: dict[str, Any]) -> list[tuple[bytes, int]]:
        # A measurement asks the same a thousand times: what it costs here must not show there.
        path, raw = seen.request.path, seen.request.body
        if (path, raw, seen.behaviour) not in self._prepared:
            self._prepared.clear()
            words = (
                anthropic_words if path.partition("?")[0].endswith("/messages") else openai_words
            )
            said = answer(body, len(raw), seen.behaviour)
            self._prepared[path, raw, seen.behaviour] = list(
                words.frames(said, body, seen.behaviour)
            )
        return self._prepared[path, raw, seen.behaviour]


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
