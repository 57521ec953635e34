"""Whole messages: read into neutral words, and written from them."""

from typing import Any

from billing.usage import Usage
from routing.chat import ChatAnswer, Finish, Reasoning, Refusal, Text, ToolCall
from routing.errors import UpstreamProtocolError
from routing.wire import json_body
from routing.wire.anthropic_messages.passing import read_message
from routing.wire.provider_json import text_of
from routing.wire.usage_reading import read_anthropic_usage

Json = dict[str, Any]

_FINISHES: dict[str, Finish] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_STOP_REASONS: dict[Finish, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def read_answer(raw: bytes) -> ChatAnswer:
    """A provider's message.

    Raises:
        UpstreamProtocolError: not a message, or a malformed block in it.
    """
    body = read_message(raw)
    usage = read_anthropic_usage(body.get("usage"))
    parts = [part for block in body["content"] for part in _parts(block, usage)]
    if refusal := refusal_of(body):
        parts.append(Refusal(refusal))
    return ChatAnswer(
        id=str(body.get("id") or ""),
        model=str(body.get("model") or ""),
        parts=tuple(parts),
        finish=read_finish(body.get("stop_reason")),
        usage=usage,
        stop_sequence=text_of(body.get("stop_sequence")) or None,
    )


def read_finish(reason: object) -> Finish:
    return _FINISHES.get(str(reason), "stop")


def refusal_of(stop: Json) -> str:
    """Why the model refused, where it says so; `stop` is a message or the delta that ends it."""
    match stop:
        case {"stop_reason": "refusal", "stop_details": {"explanation": str(explanation)}}:
            return explanation
    return ""


def _parts(block: Json, usage: Usage | None) -> list[Text | Reasoning | Refusal | ToolCall]:
    match block:
        case {"type": "text", "text": str(text)}:
            return [Text(text)] if text else []
        case {"type": "thinking", "thinking": str(thinking)}:
            return [Reasoning(thinking)] if thinking else []
        case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": dict(arguments)}:
            return [ToolCall(call_id, name, arguments)]
        case {"type": "text" | "thinking" | "tool_use"}:
            raise UpstreamProtocolError("The provider's answer has a malformed block", usage=usage)
    return []  # redacted thinking, and blocks of tools that only the provider runs


def write_answer(answer: ChatAnswer, usage: Usage, created: int) -> bytes:
    """A message for the client. Reasoning is left out: nobody could sign it."""
    message = {
        "id": message_id(answer.id),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [block for part in answer.parts for block in _blocks(part)],
        "stop_reason": stop_reason(answer.finish, answer.stop_sequence),
        "stop_sequence": answer.stop_sequence,
        "usage": write_usage(usage),
    }
    return json_body.encode(message)


def message_id(answer_id: str) -> str:
    return answer_id if answer_id.startswith("msg_") else f"msg_{answer_id}"


def stop_reason(finish: Finish, stop_sequence: str | None) -> str:
    if finish == "stop" and stop_sequence is not None:
        return "stop_sequence"
    return _STOP_REASONS[finish]


def write_usage(usage: Usage) -> Json:
    beside = usage.cached_input_tokens + usage.cache_write_tokens
    return {
        "input_tokens": usage.input_tokens - beside,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
    }


def _blocks(part: Text | Reasoning | Refusal | ToolCall) -> list[Json]:
    match part:
        case Text(text) | Refusal(text):
            return [{"type": "text", "text": text}]
        case ToolCall(call_id, name, arguments):
            return [{"type": "tool_use", "id": call_id, "name": name, "input": arguments}]
    return []
