"""A Chat Completions request put into neutral words, for a provider that speaks others.

What neutral words cannot say is refused by name. Left out without a word is only what does not
change the answer: caching hints, service tiers by default, labels for the provider's own
dashboards, an image's level of detail, and reasoning that an assistant gave in earlier turns.
"""

import re
from typing import Any, get_args

from keys.errors import InvalidRequestError
from routing.chat import (
    ChatRequest,
    Document,
    Effort,
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
from routing.wire import fields, json_body
from routing.wire.call import CallRequest
from routing.wire.fields import Fields

_SAID = {
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "user",
    "safety_identifier",
    "provider",
    "user_id",
}
_HINTS = {
    "metadata",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
}
# Fields that say nothing when they have one of these values.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "functions": ([],),
}
_MESSAGE_FIELDS = {
    "system": {"role", "content"},
    "developer": {"role", "content"},
    "user": {"role", "content"},
    "tool": {"role", "content", "tool_call_id"},
    "assistant": {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "annotations",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
    },
}
_INLINE = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,(.*)", re.IGNORECASE | re.DOTALL)
_IMAGE_TYPES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


def read_request(call: CallRequest) -> ChatRequest:
    """The call in neutral words.

    Raises:
        InvalidRequestError: a field of a wrong type, or one that has no neutral words. HTTP 400.
    """
    body = call.body
    _check_fields(body)
    tools = tuple(_tool(tool, path) for path, tool in fields.members(body, "tools"))
    tools, choice = _tool_choice(body, tools)
    return ChatRequest(
        messages=tuple(_message(item, path) for path, item in fields.members(body, "messages")),
        stream=call.stream,
        max_output_tokens=call.max_output_tokens,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=fields.flag(body, "parallel_tool_calls"),
        temperature=fields.number(body, "temperature"),
        top_p=fields.number(body, "top_p"),
        stop=_stop(body),
        output_schema=_output_schema(body),
        effort=_effort(body),
        end_user=fields.label(body, "safety_identifier", 256) or fields.label(body, "user", 256),
    )


def _check_fields(body: Fields) -> None:
    for name, value in body.items():
        if value is None or name in _SAID or name in _HINTS:
            continue
        # A bool equals a number in Python: False is no penalty of 0.
        if any(type(value) is type(same) and value == same for same in _DEFAULTS.get(name, ())):
            continue
        raise fields.unsayable(name[:100])


def _message(message: Fields, path: str) -> Message:
    role = message["role"]
    if role not in _MESSAGE_FIELDS:
        raise fields.unsayable(path + "role", "send tool results with the role 'tool'")
    fields.only(message, _MESSAGE_FIELDS[role], path)
    if role in ("system", "developer"):
        return Message("system", tuple(_texts(message, path)))
    if role == "tool":
        call_id = fields.text(message, "tool_call_id", path)
        return Message("user", (ToolResult(call_id, tuple(_texts(message, path))),))
    if role == "assistant":
        return Message("assistant", tuple(_assistant_parts(message, path)))
    if type(message.get("content")) is str:
        return Message("user", (Text(message["content"]),))
    parts = tuple(_user_part(part, at) for at, part in _content(message, path))
    return Message("user", parts)


def _content(message: Fields, path: str) -> list[tuple[str, Fields]]:
    if message.get("content") is None:
        raise fields.wrong(path + "content", "must be a string or an array")
    return list(fields.members(message, "content", path))


def _texts(message: Fields, path: str) -> list[Text]:
    if type(message.get("content")) is str:
        return [Text(message["content"])]
    return [Text(_text_of(part, at)) for at, part in _content(message, path)]


def _text_of(part: Fields, path: str) -> str:
    if part.get("type") != "text":
        raise fields.unsayable(path + "type", "only text can stand here")
    return fields.text(part, "text", path)


def _assistant_parts(message: Fields, path: str) -> list[Part]:
    parts: list[Part] = []
    if type(message.get("content")) is str:
        parts.append(Text(message["content"]))
    else:
        for at, part in fields.members(message, "content", path):
            if part.get("type") == "refusal":
                parts.append(Refusal(fields.text(part, "refusal", at)))
            else:
                parts.append(Text(_text_of(part, at)))
    if message.get("refusal") is not None:
        parts.append(Refusal(fields.text(message, "refusal", path)))
    parts.extend(_tool_call(call, at) for at, call in fields.members(message, "tool_calls", path))
    return parts


def _tool_call(call: Fields, path: str) -> ToolCall:
    if call.get("type", "function") != "function":
        raise fields.unsayable(path + "type", "only functions can be called")
    function = fields.member(call, "function", path) or {}
    arguments = fields.text(function, "arguments", path + "function.")
    return ToolCall(
        id=fields.text(call, "id", path),
        name=fields.text(function, "name", path + "function."),
        arguments=_arguments(arguments, path + "function.arguments"),
    )


def _arguments(text: str, path: str) -> dict[str, Any]:
    try:
        return json_body.decode(text.encode()) if text.strip() else {}
    except InvalidRequestError:
        raise fields.wrong(path, "must be a JSON object") from None


def _user_part(part: Fields, path: str) -> Text | Image | Document:
    match part.get("type"):
        case "text":
            return Text(fields.text(part, "text", path))
        case "image_url":
            image = fields.member(part, "image_url", path) or {}
            return _image(fields.text(image, "url", path + "image_url."), path + "image_url.url")
        case "file":
            return _document(fields.member(part, "file", path) or {}, path + "file.")
    raise fields.unsayable(path + "type")


def _image(url: str, path: str) -> Image:
    if url[:8].lower().startswith(("http://", "https://")):
        return Image(url=url)
    inline = _INLINE.fullmatch(url)
    if not inline:
        raise fields.wrong(path, "must be an http(s) address or a base64 data URL")
    if inline[1].lower() not in _IMAGE_TYPES:
        raise fields.unsayable(path, "an image must be JPEG, PNG, GIF or WebP")
    return Image(media_type=inline[1].lower(), data=inline[2])


def _document(file: Fields, path: str) -> Document:
    fields.only(file, {"file_data", "filename"}, path)
    inline = _INLINE.fullmatch(fields.text(file, "file_data", path))
    if not inline or inline[1].lower() != "application/pdf":
        raise fields.unsayable(path + "file_data", "a file must be a PDF in a base64 data URL")
    return Document(inline[2], fields.label(file, "filename", 256, path))


def _tool(tool: Fields, path: str) -> Tool:
    if tool.get("type") != "function":
        raise fields.unsayable(path + "type", "only functions can be tools")
    function = fields.member(tool, "function", path) or {}
    path += "function."
    schema = fields.member(function, "parameters", path)
    return Tool(
        name=fields.text(function, "name", path),
        description=fields.optional_text(function, "description", path),
        schema={"type": "object", "properties": {}} if schema is None else schema,
        strict=fields.flag(function, "strict", path) or False,
    )


def _tool_choice(
    body: Fields, tools: tuple[Tool, ...]
) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """The tools that may be called, and the choice among them."""
    match body.get("tool_choice"):
        case None:
            return tools, None
        case "auto" | "none" | "required" as mode:
            return tools, ToolChoice(mode)
        case {"type": "function", "function": {"name": str(name)}}:
            return tools, ToolChoice("named", name)
        case {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": list(allowed)}} if (
            mode in ("auto", "required")
        ):
            names = {_allowed_name(tool) for tool in allowed}
            return tuple(tool for tool in tools if tool.name in names), ToolChoice(mode)
    raise fields.unsayable("tool_choice")


def _allowed_name(tool: object) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}}:
            return name
    raise fields.unsayable("tool_choice.allowed_tools.tools", "only functions can be tools")


def _stop(body: Fields) -> tuple[str, ...]:
    stop = body.get("stop")
    if stop is None:
        return ()
    if type(stop) is str:
        return (stop,)
    if type(stop) is list and all(type(sequence) is str for sequence in stop):
        return tuple(stop)
    raise fields.wrong("stop", "must be a string or an array of strings")


def _output_schema(body: Fields) -> dict[str, Any] | None:
    wanted = fields.member(body, "response_format") or {"type": "text"}
    match wanted:
        case {"type": "text"}:
            return None
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)} as named}:
            description = named.get("description")
            return {"description": description, **schema} if description else schema
    raise _unsayable_format(wanted)


def _unsayable_format(wanted: Fields) -> InvalidRequestError:
    if wanted.get("type") == "json_object":
        return fields.unsayable("response_format.type", "ask for a json_schema instead")
    return fields.unsayable("response_format")


def _effort(body: Fields) -> Effort | None:
    effort = body.get("reasoning_effort")
    if effort is None or effort in get_args(Effort):
        return effort
    raise fields.unsayable("reasoning_effort")
