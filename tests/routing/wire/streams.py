"""What the stream tests share: bodies, frames, and a pipe run over any cut of a stream."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from routing.errors import UpstreamError
from routing.wire.bridges import StreamPipe, bridge
from routing.wire.call import CallRequest, read_request

USER = {"role": "user", "content": "hi"}


def chat_call(**fields: Any) -> CallRequest:
    body = {"model": "gpt-4o", "messages": [USER], "stream": True} | fields
    return read_request("openai_chat", json.dumps(body).encode())


def message_call(**fields: Any) -> CallRequest:
    body = {"model": "claude", "max_tokens": 99, "messages": [USER], "stream": True} | fields
    return read_request("anthropic_messages", json.dumps(body).encode())


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **fields: Any) -> bytes:
    """A frame of a chat completion stream."""
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-2024",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
    }
    return data(body | fields)


def data(body: Any) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def event(body: dict[str, Any]) -> bytes:
    """A frame of a message stream."""
    return f"event: {body['type']}\ndata: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def run(
    formats: tuple[str, str], call: CallRequest, pieces: Sequence[bytes]
) -> tuple[bytes, StreamPipe, str | None]:
    """What the client got, the pipe, and the class of the error at the end, if any."""
    pipe = bridge(*formats).stream(call)
    sent = b""
    try:
        for piece in pieces:
            sent += pipe.feed(piece)
        sent += pipe.end()
    except UpstreamError as error:
        return sent, pipe, type(error).__name__
    return sent, pipe, None


@st.composite
def cuts(draw: st.DrawFn, stream: bytes) -> list[bytes]:
    """A stream cut anywhere, in the middle of letters and line ends too."""
    places = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=12)))
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]
