"""A request in neutral words, written as a Messages request.

Roles alternate: turns of one role are merged, so tool results stand in the user turn directly
after the calls. All system messages are hoisted to the top, in order.
"""

import re
from typing import Any

from keys.errors import InvalidRequestError
from routing.chat import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Refusal,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.wire import json_body

USUAL_OUTPUT_TOKENS = 4096
# Source: https://docs.anthropic.com/en/api/openai-sdk (2026-11-24): values above 1 are capped.
HIGHEST_TEMPERATURE = 1

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")
_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}
# Anthropic has no "minimal"; "none" is said by switching thinking off.
_EFFORTS = {"minimal": "low"}

Json = dict[str, Any]


def write_request(request: ChatRequest, model: str) -> bytes:
    """The body of a Messages request.

    Raises:
        InvalidRequestError: nothing but system messages. HTTP 400.
    """
    body: Json = {
        "model": model,
        "max_tokens": request.max_output_tokens or USUAL_OUTPUT_TOKENS,
        "messages": _turns(request.messages),
    }
    if not body["messages"]:
        raise InvalidRequestError("'messages' must have more than the system's", param="messages")
    if system := _system(request.messages):
        body["system"] = system
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if choice := _tool_choice(request):
        body["tool_choice"] = choice
    if request.temperature is not None:
        body["temperature"] = min(request.temperature, HIGHEST_TEMPERATURE)
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop_sequences"] = request.stop
    if request.end_user:
        body["metadata"] = {"user_id": request.end_user}
    if request.stream:
        body["stream"] = True
    return json_body.encode(body | _thought(request))


def _thought(request: ChatRequest) -> Json:
    """How much to think, and in which form to answer."""
    said: Json = {}
    output: Json = {}
    if request.effort == "none":
        said["thinking"] = {"type": "disabled"}
    elif request.effort:
        output["effort"] = _EFFORTS.get(request.effort, request.effort)
    if request.output_schema is not None:
        output["format"] = {"type": "json_schema", "schema": request.output_schema}
    if output:
        said["output_config"] = output
    return said


def _system(messages: tuple[Message, ...]) -> list[Json]:
    return [
        block
        for message in messages
        if message.role == "system"
        for part in message.parts
        for block in _blocks(part)
    ]


def _turns(messages: tuple[Message, ...]) -> list[Json]:
    turns: list[Json] = []
    for message in messages:
        if message.role == "system":
            continue
        blocks = [block for part in message.parts for block in _blocks(part)]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == message.role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": message.role, "content": blocks})
    return turns


def _blocks(part: Part) -> list[Json]:
    """The part as blocks: none for an empty text, which the provider would refuse."""
    match part:
        case Text(text) | Refusal(text):
            return [{"type": "text", "text": text}] if text else []
        case Image():
            return [{"type": "image", "source": _image_source(part)}]
        case Document(data, name):
            source = {"type": "base64", "media_type": "application/pdf", "data": data}
            return [{"type": "document", "source": source} | ({"title": name} if name else {})]
        case ToolCall(call_id, name, arguments):
            call = {"type": "tool_use", "id": _tool_id(call_id), "name": name, "input": arguments}
            return [call]
        case ToolResult(call_id, parts, is_error):
            content = [block for inner in parts for block in _blocks(inner)]
            result: Json = {"type": "tool_result", "tool_use_id": _tool_id(call_id)}
            if content:
                result["content"] = content
            return [result | ({"is_error": True} if is_error else {})]


def _image_source(image: Image) -> Json:
    if image.url:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": image.data}


def _tool_id(call_id: str) -> str:
    # Other servers put dots and colons into ids, which are refused here.
    return _NOT_IN_IDS.sub("_", call_id)


def _tool(tool: Tool) -> Json:
    written: Json = {"name": tool.name}
    if tool.description:
        written["description"] = tool.description
    written["input_schema"] = tool.schema
    if tool.strict:
        written["strict"] = True
    return written


def _tool_choice(request: ChatRequest) -> Json | None:
    choice = request.tool_choice or ToolChoice("auto")
    one_at_a_time = request.parallel_tool_calls is False
    if choice.mode == "auto" and not one_at_a_time:
        return None  # the provider's own default
    if not request.tools and choice.mode in ("auto", "none"):
        return None  # nothing to choose from, and the provider would refuse the choice
    written: Json = {"type": _CHOICES[choice.mode]}
    if choice.mode == "named":
        written["name"] = choice.name
    if one_at_a_time and choice.mode != "none":
        written["disable_parallel_tool_use"] = True
    return written
