"""Messages in and out: bytes pass, usage is read on the way."""

from typing import Any

from routing.errors import UpstreamProtocolError
from routing.wire import json_body, sse
from routing.wire.bridge import BridgedAnswer
from routing.wire.call import CallRequest
from routing.wire.frame_pipe import FramePipe
from routing.wire.provider_json import read_event_data, read_object
from routing.wire.stream_errors import stream_error
from routing.wire.usage_reading import (
    merge_anthropic_usage,
    read_anthropic_usage,
    usage_in_error,
)

# Whom the application serves, as the gateway takes it; Anthropic's own word is `metadata`.
_OWN_FIELDS = ("user_id", "user")


class AnthropicMessagesPassage:
    """The bridge between a Messages client and a Messages provider."""

    def request(self, call: CallRequest, *, model: str, max_output_tokens: int | None) -> bytes:
        raw = call.raw
        if model != call.model:
            raw = json_body.replace_member(raw, "model", json_body.encode(model))
        for field in _OWN_FIELDS:
            if field in call.body:
                raw = json_body.remove_member(raw, field)
        if max_output_tokens is not None:
            raw = json_body.replace_member(raw, "max_tokens", b"%d" % max_output_tokens)
        return raw

    def answer(self, raw: bytes, call: CallRequest, *, created: int = 0) -> BridgedAnswer:
        body = read_message(raw)
        return BridgedAnswer(raw, read_anthropic_usage(body.get("usage")), body["content"])

    def stream(self, call: CallRequest, *, created: int = 0) -> "AnthropicMessagesPassingPipe":
        return AnthropicMessagesPassingPipe()


class AnthropicMessagesPassingPipe(FramePipe):
    """Passes frames on as they are."""

    def __init__(self) -> None:
        super().__init__()
        self._figures: dict[str, Any] = {}

    def _frame(self, frame: bytes) -> bytes:
        name, data = sse.read_event(frame)
        if data is None:
            return frame if sse.only_comments(frame) else b""
        if self.finished:
            return b""
        event = read_event_data(data)
        if event is None:
            return b""
        if name == b"error" or event.get("type") == "error":
            if usage := usage_in_error(event):
                self._report(usage)
            raise stream_error(event.get("error"))
        self._read(event)
        if not name:
            # The official client skips events without a name.
            return sse.write_event(data.replace(b"\n", b" "), str(event.get("type")).encode())
        return frame

    def _read(self, event: dict[str, Any]) -> None:
        match event:
            case {"type": "content_block_delta", "delta": delta}:
                self._show(delta)
            case {"type": "content_block_start", "content_block": {"type": "tool_use"}}:
                self.started = True
            case {"type": "content_block_start", "content_block": block}:
                self._show(block)
            case {"type": "message_start", "message": {"usage": dict(usage)}}:
                self._report(usage)
            case {"type": "message_delta", "usage": dict(usage)}:
                self._report(usage)
            case {"type": "message_stop"}:
                self.complete = self.finished = True

    def _show(self, content: Any) -> None:
        if self._meter.add(content):
            self.started = True

    def _report(self, usage: dict[str, Any]) -> None:
        self._figures = merge_anthropic_usage(self._figures, usage)
        self._reported = read_anthropic_usage(self._figures)

    def _last(self) -> bytes:
        return b""


def read_message(raw: bytes) -> dict[str, Any]:
    """A whole message, at least a list of content blocks.

    Raises:
        UpstreamProtocolError: anything else, an error with a 2xx status included.
    """
    body = read_object(raw)
    content = body.get("content")
    if type(content) is not list or not all(type(block) is dict for block in content):
        usage = read_anthropic_usage(usage_in_error(body))
        raise UpstreamProtocolError("The provider's answer has no content", usage=usage)
    return body
