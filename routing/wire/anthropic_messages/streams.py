"""Streamed messages: a provider's events read, a client's events written."""

from collections.abc import Iterator
from typing import Any

from billing.usage import Usage
from routing import chat
from routing.wire import json_body, sse
from routing.wire.anthropic_messages.answers import (
    message_id,
    read_finish,
    refusal_of,
    stop_reason,
    write_usage,
)
from routing.wire.call import CallRequest
from routing.wire.provider_json import number_of, object_of, read_event_data, text_of
from routing.wire.stream_errors import stream_error
from routing.wire.usage_reading import (
    merge_anthropic_usage,
    read_anthropic_usage,
    usage_in_error,
)

Json = dict[str, Any]


class AnthropicMessagesStreamReader:
    """Reads blocks; tool calls are numbered among themselves."""

    def __init__(self) -> None:
        self.finished = False
        self.complete = False
        self._figures: Json = {}
        # Number of the tool call in each block, and the input that its block started with.
        self._calls: dict[int, int] = {}
        self._silent_inputs: dict[int, Json] = {}

    def read(self, name: bytes, data: bytes) -> Iterator[chat.StreamEvent]:
        event = read_event_data(data)
        if event is None:
            return
        if name == b"error" or event.get("type") == "error":
            if usage := usage_in_error(event):
                yield self._usage(usage)
            raise stream_error(event.get("error"))
        index = number_of(event.get("index"), 0)
        match event:
            case {"type": "message_start", "message": dict(message)}:
                yield self._usage(message.get("usage"))
                yield chat.Started(str(message.get("id") or ""), str(message.get("model") or ""))
            case {"type": "content_block_start", "content_block": dict(block)}:
                yield from self._block(index, block)
            case {"type": "content_block_delta", "delta": dict(delta)}:
                yield from self._delta(index, delta)
            case {"type": "content_block_stop"}:
                yield from self._whole_input(index)
            case {"type": "message_delta", "delta": dict(delta)}:
                yield self._usage(event.get("usage"))
                yield from _finish(delta)
            case {"type": "message_stop"}:
                self.finished = self.complete = True

    def _usage(self, usage: object) -> chat.UsageReported:
        if type(usage) is dict:
            self._figures = merge_anthropic_usage(self._figures, usage)
        return chat.UsageReported(read_anthropic_usage(self._figures))

    def _block(self, index: int, block: Json) -> Iterator[chat.StreamEvent]:
        match block:
            case {"type": "tool_use", "id": str(call_id), "name": str(name)}:
                number = self._calls[index] = len(self._calls)
                self._silent_inputs[index] = object_of(block.get("input"))
                yield chat.ToolCallStarted(number, call_id, name)
            case {"type": "text", "text": str(text)} if text:
                yield chat.TextDelta(text)

    def _delta(self, index: int, delta: Json) -> Iterator[chat.StreamEvent]:
        match delta:
            case {"type": "text_delta", "text": str(text)} if text:
                yield chat.TextDelta(text)
            case {"type": "thinking_delta", "thinking": str(thinking)} if thinking:
                yield chat.ReasoningDelta(thinking)
            case {"type": "input_json_delta", "partial_json": str(fragment)} if fragment:
                if index in self._calls:
                    self._silent_inputs.pop(index, None)
                    yield chat.ToolArguments(self._calls[index], fragment)

    def _whole_input(self, index: int) -> Iterator[chat.StreamEvent]:
        # A call without arguments has no deltas, and its arguments must still be JSON.
        arguments = self._silent_inputs.pop(index, None)
        if arguments is not None:
            yield chat.ToolArguments(self._calls[index], json_body.encode(arguments).decode())


def _finish(delta: Json) -> Iterator[chat.StreamEvent]:
    if delta.get("stop_reason"):
        if refusal := refusal_of(delta):
            yield chat.RefusalDelta(refusal)
        yield chat.Finished(
            read_finish(delta["stop_reason"]), text_of(delta.get("stop_sequence")) or None
        )


class AnthropicMessagesStreamWriter:
    """Writes one block after the other.

    Only one block is open. Once it is a tool call, pieces of anything else wait for the end:
    a closed block cannot take the pieces that a parallel call may still bring.
    """

    def __init__(self, call: CallRequest, created: int) -> None:
        self._input_token_estimate = call.input_bound.estimate
        self._opened = 0
        self._open: int | str | None = None
        self._waiting: dict[int | str, list[str]] = {}
        self._calls: dict[int, chat.ToolCallStarted] = {}
        self._end = chat.Finished("stop")

    def write(self, event: chat.StreamEvent) -> bytes:
        match event:
            case chat.Started():
                return self._start(event)
            case chat.TextDelta(text) | chat.RefusalDelta(text):
                return self._piece("text", text)
            case chat.ToolCallStarted(index):
                self._calls[index] = event
                return self._piece(index, "")
            case chat.ToolArguments(index, fragment):
                return self._piece(index, fragment)
            case chat.Finished():
                # The figures belong into the same event and come later.
                self._end = event
        return b""

    def finish(self, usage: Usage) -> bytes:
        sent = [self._close_block()]
        for block, pieces in self._waiting.items():
            sent.append(self._open_block(block) + self._delta(block, "".join(pieces)))
            sent.append(self._close_block())
        reason = stop_reason(self._end.finish, self._end.stop_sequence)
        delta = {"stop_reason": reason, "stop_sequence": self._end.stop_sequence}
        sent.append(_event("message_delta", {"delta": delta, "usage": write_usage(usage)}))
        sent.append(_event("message_stop", {}))
        return b"".join(sent)

    def _start(self, started: chat.Started) -> bytes:
        message: Json = {
            "id": message_id(started.id),
            "type": "message",
            "role": "assistant",
            "model": started.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            # The true figures come at the end; these are what is known by now.
            "usage": write_usage(Usage(self._input_token_estimate)),
        }
        return _event("message_start", {"message": message})

    def _piece(self, block: int | str, text: str) -> bytes:
        if block == self._open:
            return self._delta(block, text)
        if isinstance(self._open, int):
            self._waiting.setdefault(block, []).append(text)
            return b""
        return self._close_block() + self._open_block(block) + self._delta(block, text)

    def _open_block(self, block: int | str) -> bytes:
        content: Json = {"type": "text", "text": ""}
        if isinstance(block, int):
            call = self._calls[block]
            content = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
        self._open = block
        self._opened += 1
        return self._block_event("content_block_start", {"content_block": content})

    def _delta(self, block: int | str, text: str) -> bytes:
        if not text:
            return b""
        delta = {"type": "text_delta", "text": text}
        if isinstance(block, int):
            delta = {"type": "input_json_delta", "partial_json": text}
        return self._block_event("content_block_delta", {"delta": delta})

    def _close_block(self) -> bytes:
        if self._open is None:
            return b""
        self._open = None
        return self._block_event("content_block_stop", {})

    def _block_event(self, name: str, members: Json) -> bytes:
        return _event(name, {"index": self._opened - 1} | members)


def _event(name: str, members: Json) -> bytes:
    return sse.write_event(json_body.encode({"type": name} | members), name.encode())
