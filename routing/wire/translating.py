"""The bridge between two formats that differ: through the neutral words, both ways."""

from dataclasses import dataclass, replace
from typing import Any

import orjson

from billing.usage import Usage
from routing import chat
from routing.errors import UpstreamProtocolError
from routing.wire import sse
from routing.wire.bridge import BridgedAnswer
from routing.wire.call import CallRequest
from routing.wire.frame_pipe import FramePipe
from routing.wire.output_estimate import text_of, tokens_of
from routing.wire.words import Words

_TOO_DEEP = "The provider's answer is nested too deeply"


@dataclass(frozen=True, slots=True)
class TranslatingBridge:
    """A `Bridge`; `client` is what the caller speaks, `provider` what the provider does."""

    client: Words
    provider: Words

    def request(self, call: CallRequest, *, model: str, max_output_tokens: int | None) -> bytes:
        request = self.client.read_request(call)
        if max_output_tokens is not None:
            request = replace(request, max_output_tokens=max_output_tokens)
        return self.provider.write_request(request, model)

    def answer(self, raw: bytes, call: CallRequest, *, created: int = 0) -> BridgedAnswer:
        answer = self.provider.read_answer(raw)
        said = [_said(part) for part in answer.parts]
        usage = answer.usage or Usage(
            call.input_bound.estimate, output_tokens=tokens_of(text_of(said))
        )
        try:
            body = self.client.write_answer(answer, usage, created)
        except orjson.JSONEncodeError:
            raise UpstreamProtocolError(_TOO_DEEP, usage=answer.usage) from None
        return BridgedAnswer(body, answer.usage, said)

    def stream(self, call: CallRequest, *, created: int = 0) -> "TranslatingPipe":
        return TranslatingPipe(self, call, created)


class TranslatingPipe(FramePipe):
    """Reads the provider's frames and writes the client's."""

    def __init__(self, bridge: TranslatingBridge, call: CallRequest, created: int) -> None:
        super().__init__()
        self._reader = bridge.provider.stream_reader()
        self._writer = bridge.client.stream_writer(call, created)
        self._input_token_estimate = call.input_bound.estimate

    def _frame(self, frame: bytes) -> bytes:
        name, data = sse.read_event(frame)
        if data is None:
            return frame if sse.only_comments(frame) else b""
        if self.complete:
            return b""
        try:
            sent = [self._pass(event) for event in self._reader.read(name, data)]
        except orjson.JSONEncodeError:
            raise UpstreamProtocolError(_TOO_DEEP) from None
        self.finished = self._reader.finished
        if self._reader.complete:
            sent.append(self._close())
        return b"".join(sent)

    def _pass(self, event: chat.StreamEvent) -> bytes:
        match event:
            case chat.UsageReported(usage):
                self._reported = usage or self._reported
            case chat.TextDelta(text) | chat.RefusalDelta(text) | chat.ReasoningDelta(text):
                self._show(text)
            case chat.ToolArguments(_, fragment):
                self._show(fragment)
            case chat.ToolCallStarted():
                self.started = True
        return self._writer.write(event)

    def _show(self, text: str) -> None:
        self._meter.add(text)
        self.started = True

    def _last(self) -> bytes:
        return b"" if self.complete else self._close()

    def _close(self) -> bytes:
        self.complete = True
        estimate = Usage(self._input_token_estimate, output_tokens=self.output_tokens_seen)
        return self._writer.finish(self._reported or estimate)


def _said(part: chat.Text | chat.Reasoning | chat.Refusal | chat.ToolCall) -> Any:
    return part.arguments if isinstance(part, chat.ToolCall) else part.text
