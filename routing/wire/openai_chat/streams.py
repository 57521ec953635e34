"""Streamed chat completions: a provider's chunks read, a client's chunks written."""

from collections.abc import Iterator
from typing import Any

from billing.usage import Usage
from routing import chat
from routing.wire import json_body, sse
from routing.wire.call import CallRequest
from routing.wire.openai_chat.answers import (
    call_id,
    completion_id,
    read_finish,
    reasoning_of,
    write_usage,
)
from routing.wire.openai_chat.passing import DONE
from routing.wire.provider_json import number_of, object_of, objects_of, read_event_data, text_of
from routing.wire.stream_errors import stream_error
from routing.wire.usage_reading import read_openai_usage, usage_in_error

Json = dict[str, Any]


class OpenAIChatStreamReader:
    """Reads the one choice that a translated call asks for."""

    def __init__(self) -> None:
        self.finished = False
        self.complete = False
        self._started = False
        self._calls: set[int] = set()

    def read(self, name: bytes, data: bytes) -> Iterator[chat.StreamEvent]:
        if data.startswith(b"[DONE]"):
            self.finished = self.complete = True
            return
        chunk = read_event_data(data)
        if chunk is None:
            return
        is_error = bool(chunk.get("error")) or name == b"error"
        usage = read_openai_usage(usage_in_error(chunk) if is_error else chunk.get("usage"))
        if usage:
            yield chat.UsageReported(usage)
        if is_error:
            raise stream_error(chunk.get("error") or chunk)
        for choice in objects_of(chunk.get("choices")):
            if choice.get("index"):
                continue
            if not self._started:
                self._started = True
                yield chat.Started(str(chunk.get("id") or ""), str(chunk.get("model") or ""))
            yield from self._delta(object_of(choice.get("delta")))
            if choice.get("finish_reason") and not self.finished:
                self.finished = True
                yield chat.Finished(read_finish(choice["finish_reason"]))

    def _delta(self, delta: Json) -> Iterator[chat.StreamEvent]:
        if reasoning := reasoning_of(delta):
            yield chat.ReasoningDelta(reasoning)
        if text := text_of(delta.get("content")):
            yield chat.TextDelta(text)
        if refusal := text_of(delta.get("refusal")):
            yield chat.RefusalDelta(refusal)
        for position, call in enumerate(objects_of(delta.get("tool_calls"))):
            yield from self._call(call, number_of(call.get("index"), position))

    def _call(self, call: Json, index: int) -> Iterator[chat.StreamEvent]:
        function = object_of(call.get("function"))
        if index not in self._calls:
            self._calls.add(index)
            name = text_of(function.get("name"))
            yield chat.ToolCallStarted(index, call_id(call, index), name)
        if fragment := text_of(function.get("arguments")):
            yield chat.ToolArguments(index, fragment)


class OpenAIChatStreamWriter:
    """Writes chunks that all carry the same id, time and model."""

    def __init__(self, call: CallRequest, created: int) -> None:
        self._head: Json = {
            "id": completion_id(""),
            "object": "chat.completion.chunk",
            "created": created,
            "model": call.model,
        }
        self._include_usage = call.include_usage
        self._finished = False

    def write(self, event: chat.StreamEvent) -> bytes:
        match event:
            case chat.Started(answer_id, model):
                self._head |= {"id": completion_id(answer_id), "model": model}
                return self._chunk({"role": "assistant", "content": ""})
            case chat.TextDelta(text):
                return self._chunk({"content": text})
            case chat.ReasoningDelta(text):
                return self._chunk({"reasoning_content": text})
            case chat.RefusalDelta(text):
                return self._chunk({"refusal": text})
            case chat.ToolCallStarted(index, tool_call_id, name):
                function = {"name": name, "arguments": ""}
                call = {"id": tool_call_id, "type": "function", "function": function}
                return self._chunk({"tool_calls": [{"index": index} | call]})
            case chat.ToolArguments(index, fragment):
                function = {"arguments": fragment}
                return self._chunk({"tool_calls": [{"index": index, "function": function}]})
            case chat.Finished(finish):
                self._finished = True
                return self._chunk({}, finish)
        return b""

    def finish(self, usage: Usage) -> bytes:
        sent = b"" if self._finished else self._chunk({}, "stop")
        if self._include_usage:
            last = self._head | {"choices": [], "usage": write_usage(usage)}
            sent += sse.write_event(json_body.encode(last))
        return sent + DONE

    def _chunk(self, delta: Json, finish: chat.Finish | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        chunk = self._head | {"choices": [choice]}
        if self._include_usage:
            chunk["usage"] = None
        return sse.write_event(json_body.encode(chunk))
