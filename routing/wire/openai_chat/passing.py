"""Chat Completions in and out: bytes pass, usage is read on the way."""

import re
from typing import Any

import orjson

from routing.errors import UpstreamProtocolError
from routing.wire import json_body, sse
from routing.wire.bridge import BridgedAnswer
from routing.wire.call import CallRequest
from routing.wire.frame_pipe import FramePipe
from routing.wire.provider_json import objects_of, read_event_data, read_object
from routing.wire.stream_errors import stream_error
from routing.wire.usage_reading import read_openai_usage, usage_in_error

DONE = b"data: [DONE]\n\n"

_OWN_FIELDS = ("provider", "user_id")
_OUTPUT_LIMITS = ("max_completion_tokens", "max_tokens")
# OpenAI's reasoning models refuse `max_tokens`; servers that imitate the API know no other.
# Source: openai-python 3.54, completion_create_params.py (2026-11-24).
_REASONING_MODEL = re.compile(r"(?:.*/)?(?:o[1-9]|gpt-(?:[5-9]|[1-9][0-9]))(?![0-9a-z])")


class OpenAIChatPassage:
    """The bridge between a Chat Completions client and a Chat Completions provider."""

    def request(self, call: CallRequest, *, model: str, max_output_tokens: int | None) -> bytes:
        raw = call.raw
        if model != call.model:
            raw = json_body.replace_member(raw, "model", json_body.encode(model))
        for field in _OWN_FIELDS:
            if field in call.body:
                raw = json_body.remove_member(raw, field)
        raw = _with_output_limit(raw, call, model, max_output_tokens)
        if call.stream and not call.include_usage:
            options = (call.body.get("stream_options") or {}) | {"include_usage": True}
            raw = _put(raw, call.body, "stream_options", json_body.encode(options))
        return raw

    def answer(self, raw: bytes, call: CallRequest, *, created: int = 0) -> BridgedAnswer:
        body = read_completion(raw)
        said = [choice.get("message") for choice in body["choices"]]
        return BridgedAnswer(raw, read_openai_usage(body.get("usage")), said)

    def stream(self, call: CallRequest, *, created: int = 0) -> "OpenAIChatPassingPipe":
        return OpenAIChatPassingPipe(call)


class OpenAIChatPassingPipe(FramePipe):
    """Passes frames on; keeps back the usage that only the gateway asked for."""

    def __init__(self, call: CallRequest) -> None:
        super().__init__()
        self._hide_usage = not call.include_usage
        self._choices = call.choices
        self._finished_choices: set[str] = set()

    def _frame(self, frame: bytes) -> bytes:
        name, data = sse.read_event(frame)
        if data is None:
            return frame if sse.only_comments(frame) else b""
        if self.complete:
            return b""
        if data.startswith(b"[DONE]"):
            self.complete = self.finished = True
            return frame
        chunk = read_event_data(data)
        if chunk is None:
            return b""
        if chunk.get("error") or name == b"error":
            self._reported = read_openai_usage(usage_in_error(chunk)) or self._reported
            raise stream_error(chunk.get("error") or chunk)
        self._read(chunk)
        if self._hide_usage and "usage" in chunk:
            return _without_usage(data, chunk)
        return frame

    def _read(self, chunk: dict[str, Any]) -> None:
        usage = chunk.get("usage")
        if usage is not None:
            self._reported = read_openai_usage(usage) or self._reported
        for choice in objects_of(chunk.get("choices")):
            if self._meter.add(choice.get("delta")):
                self.started = True
            if choice.get("finish_reason"):
                self._finished_choices.add(str(choice.get("index")))
                self.finished = len(self._finished_choices) >= self._choices

    def _last(self) -> bytes:
        # A finish is a finish; the official clients wait for the marker all the same.
        return b"" if self.complete else DONE


def read_completion(raw: bytes) -> dict[str, Any]:
    """A whole chat completion, at least one list of choices.

    Raises:
        UpstreamProtocolError: anything else, an error with a 2xx status included.
    """
    body = read_object(raw)
    choices = body.get("choices")
    if type(choices) is not list or not all(type(choice) is dict for choice in choices):
        usage = read_openai_usage(usage_in_error(body))
        raise UpstreamProtocolError("The provider's answer has no choices", usage=usage)
    return body


def is_reasoning_model(model: str) -> bool:
    """Whether a model, by its name, is one of OpenAI's that reason before they answer."""
    return _REASONING_MODEL.match(model) is not None


def output_limit_field(model: str) -> str:
    """The field in which a provider's model takes its output limit, when both would say it."""
    return "max_completion_tokens" if is_reasoning_model(model) else "max_tokens"


def add_gateway_fields(body: bytes, *, provider: str, latency_ms: int) -> bytes:
    """A chat completion with `provider` and `latency_ms` at its top level.

    Providers' own members of these names give way.
    """
    fields = {"provider": provider, "latency_ms": latency_ms}
    present: dict[str, Any] = {}
    if b"\\u00" in body or any(b'"%b"' % name.encode() in body for name in fields):
        present = orjson.loads(body)
    for name, value in fields.items():
        body = _put(body, present, name, json_body.encode(value))
    return body


def _with_output_limit(
    raw: bytes, call: CallRequest, model: str, max_output_tokens: int | None
) -> bytes:
    """One output limit in the field that the model takes; both never travel."""
    sent = [name for name in _OUTPUT_LIMITS if call.body.get(name) is not None]
    limit = max_output_tokens or call.max_output_tokens
    field = output_limit_field(model)
    if field == "max_tokens" and sent == ["max_completion_tokens"]:
        field = "max_completion_tokens"  # the caller knows its provider
    if limit is None or (sent == [field] and max_output_tokens is None):
        return raw
    for name in _OUTPUT_LIMITS:
        if name in call.body and name != field:
            raw = json_body.remove_member(raw, name)
    return _put(raw, call.body, field, b"%d" % limit)


def _put(raw: bytes, body: dict[str, Any], name: str, value: bytes) -> bytes:
    if name in body:
        return json_body.replace_member(raw, name, value)
    return json_body.add_member(raw, name, value)


def _without_usage(data: bytes, chunk: dict[str, Any]) -> bytes:
    if chunk["usage"] is None:
        # The usual spelling, met in every chunk: one such key, and it is the one at the top.
        head, found, tail = data.partition(b',"usage":null')
        if found and b'"usage"' not in tail and b'"usage"' not in head and b"\\u00" not in data:
            return b"data: %b%b\n\n" % (head, tail)
    elif not chunk.get("choices"):
        return b""
    return sse.write_event(json_body.remove_member(data, "usage").replace(b"\n", b" "))
