"""A bare reverse proxy: the gateway's own server and HTTP client, and nothing between them.

One bare ASGI application on uvicorn (httptools, uvloop) that passes every request on with
pyreqwest: no keys, limits, budget, journal, ledger, Django. What it costs is the floor.
"""

import argparse
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from pyreqwest.client import Client, ClientBuilder

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
NOT_OURS = {b"host", b"content-length", b"connection", b"transfer-encoding"}


class BareProxy:
    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._client: Client | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._pass_on(scope, await _body(receive), send)

    async def _pass_on(self, scope: Message, body: bytes, send: Send) -> None:
        if self._client is None:
            self._client = ClientBuilder().no_proxy().http1_only().build()
        request = self._client.request(scope["method"], self._upstream + scope["path"])
        kept = [(n.decode(), v.decode()) for n, v in scope["headers"] if n not in NOT_OURS]
        streamed = request.headers(kept).body_bytes(body).streamed_read_buffer_limit(0)
        async with streamed.build_streamed() as answer:
            headers = [
                (name.encode(), value.encode())
                for name, value in answer.headers.items()
                if name not in {"connection", "transfer-encoding"}
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            while (chunk := await answer.body_reader.read_chunk()) is not None:
                await send({"type": "http.response.body", "body": bytes(chunk), "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    chosen = parser.parse_args()
    uvicorn.run(
        BareProxy(chosen.upstream),
        port=chosen.port,
        http="httptools",
        loop="uvloop",
        log_level="error",
        access_log=False,
        lifespan="off",
    )


if __name__ == "__main__":
    main()
