"""Whole chat completions: read into neutral words, and written from them.

`reasoning_content` is the name that DeepSeek gave to reasoning and most servers took over.
"""

from typing import Any, get_args

import orjson

from billing.usage import Usage
from routing.chat import ChatAnswer, Finish, Reasoning, Refusal, Text, ToolCall
from routing.errors import UpstreamProtocolError
from routing.wire import json_body
from routing.wire.openai_chat.passing import read_completion
from routing.wire.provider_json import objects_of, text_of
from routing.wire.usage_reading import read_openai_usage

Json = dict[str, Any]


def read_answer(raw: bytes) -> ChatAnswer:
    """A provider's chat completion.

    Raises:
        UpstreamProtocolError: no message, or a tool call whose arguments are not an object.
    """
    body = read_completion(raw)
    usage = read_openai_usage(body.get("usage"))
    choice = body["choices"][0] if body["choices"] else {}
    message = choice.get("message")
    if type(message) is not dict:
        raise UpstreamProtocolError("The provider's answer has no message", usage=usage)
    return ChatAnswer(
        id=str(body.get("id") or ""),
        model=str(body.get("model") or ""),
        parts=tuple(_parts(message, usage)),
        finish=read_finish(choice.get("finish_reason")),
        usage=usage,
    )


def read_finish(reason: object) -> Finish:
    if reason == "function_call":
        return "tool_calls"
    return next((finish for finish in get_args(Finish) if finish == reason), "stop")


def reasoning_of(message: Json) -> str:
    return text_of(message.get("reasoning_content") or message.get("reasoning"))


def _parts(message: Json, usage: Usage | None) -> list[Text | Reasoning | Refusal | ToolCall]:
    parts: list[Text | Reasoning | Refusal | ToolCall] = []
    if reasoning := reasoning_of(message):
        parts.append(Reasoning(reasoning))
    if text := text_of(message.get("content")):
        parts.append(Text(text))
    if refusal := text_of(message.get("refusal")):
        parts.append(Refusal(refusal))
    for index, call in enumerate(objects_of(message.get("tool_calls"))):
        parts.append(_tool_call(call, index, usage))
    return parts


def _tool_call(call: Json, index: int, usage: Usage | None) -> ToolCall:
    match call:
        case {"function": {"name": str(name), "arguments": str(arguments)}}:
            try:
                parsed = orjson.loads(arguments) if arguments.strip() else {}
            except orjson.JSONDecodeError:
                parsed = None
            if type(parsed) is dict:
                return ToolCall(call_id(call, index), name, parsed)
    raise UpstreamProtocolError("The provider's answer has a malformed tool call", usage=usage)


def call_id(call: Json, index: int) -> str:
    """The id of a tool call; some servers leave it out."""
    return text_of(call.get("id")) or f"call_{index}"


def write_answer(answer: ChatAnswer, usage: Usage, created: int) -> bytes:
    """A chat completion for the client."""
    text = "".join(part.text for part in answer.parts if isinstance(part, Text))
    refusal = "".join(part.text for part in answer.parts if isinstance(part, Refusal))
    reasoning = "".join(part.text for part in answer.parts if isinstance(part, Reasoning))
    calls = [_write_call(part) for part in answer.parts if isinstance(part, ToolCall)]
    message: Json = {"role": "assistant", "content": text or None, "refusal": refusal or None}
    if not (text or refusal or calls):
        message["content"] = ""
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
    completion = {
        "id": completion_id(answer.id),
        "object": "chat.completion",
        "created": created,
        "model": answer.model,
        "choices": [choice],
        "usage": write_usage(usage),
    }
    return json_body.encode(completion)


def completion_id(answer_id: str) -> str:
    return answer_id if answer_id.startswith("chatcmpl-") else f"chatcmpl-{answer_id}"


def write_usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_input_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _write_call(call: ToolCall) -> Json:
    arguments = json_body.encode(call.arguments).decode()
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}
