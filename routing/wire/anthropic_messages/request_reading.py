"""A Messages request put into neutral words, for a provider that speaks others.

What neutral words cannot say is refused by name. Left out without a word is only what does not
change the answer: cache breakpoints, citations and other notes on earlier answers, a service
tier, and thinking of earlier turns, whose signatures mean nothing elsewhere. How much to think
is a wish that `output_config.effort` or the thinking budget express; a model that cannot be
told how much answers all the same.
"""

from typing import Any, get_args

from routing.chat import (
    ChatRequest,
    Document,
    Effort,
    Image,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from routing.wire import fields
from routing.wire.call import LONGEST_END_USER, CallRequest
from routing.wire.fields import Fields

_SAID = {
    "model",
    "messages",
    "max_tokens",
    "system",
    "stream",
    "temperature",
    "top_p",
    "stop_sequences",
    "tools",
    "tool_choice",
    "metadata",
    "thinking",
    "output_config",
}
# Read before; they are the gateway's own.
_END_USER = {"user_id", "user"}
_HINTS = {"cache_control", "service_tier", "diagnostics"}
_TOOL_FIELDS = {"name", "type", "description", "input_schema", "strict"}
_TOOL_HINTS = {"cache_control", "eager_input_streaming", "defer_loading"}
# Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking (2026-11-24):
# budgets start at 1,024; above 32,000 the returns diminish. The steps between are ours.
_LOW_BUDGET = 4_096
_MEDIUM_BUDGET = 16_384
_IMAGE_TYPES = {"image/jpeg", "image/png", "image/gif", "image/webp"}


def read_request(call: CallRequest) -> ChatRequest:
    """The call in neutral words.

    Raises:
        InvalidRequestError: a field of a wrong type, or one that has no neutral words. HTTP 400.
    """
    body = call.body
    fields.only(body, _SAID | _END_USER | _HINTS)
    choice, parallel = _tool_choice(body)
    output = fields.member(body, "output_config") or {}
    metadata = fields.member(body, "metadata") or {}
    fields.only(output, {"effort", "format"}, "output_config.")
    return ChatRequest(
        messages=(*_system(body), *_messages(body)),
        stream=call.stream,
        max_output_tokens=call.max_output_tokens,
        tools=tuple(_tool(tool, path) for path, tool in fields.members(body, "tools")),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        temperature=fields.number(body, "temperature"),
        top_p=fields.number(body, "top_p"),
        stop=_stop_sequences(body),
        output_schema=_output_schema(output),
        effort=_effort(body, output),
        end_user=fields.label(metadata, "user_id", LONGEST_END_USER, "metadata."),
    )


def _system(body: Fields) -> list[Message]:
    texts = tuple(_texts(body, "system", ""))
    return [Message("system", texts)] if texts else []


def _messages(body: Fields) -> list[Message]:
    messages = []
    for path, message in fields.members(body, "messages"):
        role = message["role"]
        fields.only(message, {"role", "content"}, path)
        if message.get("content") is None:
            raise fields.wrong(path + "content", "is required")
        if role == "system":
            messages.append(Message("system", tuple(_texts(message, "content", path))))
        elif type(message["content"]) is str:
            messages.append(Message(role, (Text(message["content"]),)))
        else:
            read = _assistant_parts if role == "assistant" else _user_parts
            blocks = fields.members(message, "content", path)
            parts = (part for at, block in blocks for part in read(block, at))
            messages.append(Message(role, tuple(parts)))
    return messages


def _texts(owner: Fields, name: str, path: str) -> list[Text]:
    if type(owner.get(name)) is str:
        return [Text(owner[name])]
    return [_text(block, at) for at, block in fields.members(owner, name, path)]


def _text(block: Fields, path: str) -> Text:
    if block.get("type") != "text":
        raise fields.unsayable(path + "type", "only text can stand here")
    return Text(fields.text(block, "text", path))


def _assistant_parts(block: Fields, path: str) -> list[Part]:
    match block.get("type"):
        case "thinking" | "redacted_thinking":
            return []
        case "tool_use":
            arguments = fields.member(block, "input", path)
            if arguments is None:
                raise fields.wrong(path + "input", "is required")
            name = fields.text(block, "name", path)
            return [ToolCall(fields.text(block, "id", path), name, arguments)]
        case "text":
            return [Text(fields.text(block, "text", path))]
    raise fields.unsayable(path + "type")


def _user_parts(block: Fields, path: str) -> list[Part]:
    if block.get("type") != "tool_result":
        return [_content(block, path)]
    call_id = fields.text(block, "tool_use_id", path)
    if type(block.get("content")) is str:
        parts: tuple[Text | Image | Document, ...] = (Text(block["content"]),)
    else:
        parts = tuple(_content(inner, at) for at, inner in fields.members(block, "content", path))
    return [ToolResult(call_id, parts, fields.flag(block, "is_error", path) or False)]


def _content(block: Fields, path: str) -> Text | Image | Document:
    match block.get("type"):
        case "text":
            return Text(fields.text(block, "text", path))
        case "image":
            return _image(fields.member(block, "source", path) or {}, path + "source.")
        case "document":
            return _document(block, path)
    raise fields.unsayable(path + "type")


def _image(source: Fields, path: str) -> Image:
    match source.get("type"):
        case "url":
            return Image(url=fields.text(source, "url", path))
        case "base64":
            media_type = fields.text(source, "media_type", path)
            if media_type not in _IMAGE_TYPES:
                raise fields.wrong(path + "media_type", "must be JPEG, PNG, GIF or WebP")
            return Image(media_type=media_type, data=fields.text(source, "data", path))
    raise fields.unsayable(path + "type")


def _document(block: Fields, path: str) -> Text | Document:
    if (fields.member(block, "citations", path) or {}).get("enabled"):
        raise fields.unsayable(path + "citations")
    source = fields.member(block, "source", path) or {}
    title = fields.optional_text(block, "title", path)
    context = fields.optional_text(block, "context", path)
    path += "source."
    match source.get("type"):
        case "text":
            said = (title, context, fields.text(source, "data", path))
            return Text("\n\n".join(part for part in said if part))
        case "base64" if not context:
            return Document(fields.text(source, "data", path), title)
    raise fields.unsayable(path + "type")


def _tool(tool: Fields, path: str) -> Tool:
    if tool.get("type") not in (None, "custom"):
        raise fields.unsayable(path + "type", "only the caller's own tools can be used")
    fields.only(tool, _TOOL_FIELDS | _TOOL_HINTS, path)
    schema = fields.member(tool, "input_schema", path)
    if schema is None:
        raise fields.wrong(path + "input_schema", "is required")
    return Tool(
        name=fields.text(tool, "name", path),
        description=fields.optional_text(tool, "description", path),
        schema=schema,
        strict=fields.flag(tool, "strict", path) or False,
    )


def _tool_choice(body: Fields) -> tuple[ToolChoice | None, bool | None]:
    """The choice, and whether several tools may be called at once, where that is said."""
    choice = fields.member(body, "tool_choice")
    if choice is None:
        return None, None
    one_at_a_time = fields.flag(choice, "disable_parallel_tool_use", "tool_choice.")
    parallel = None if one_at_a_time is None else not one_at_a_time
    match choice.get("type"):
        case "auto" | "none" as mode:
            return ToolChoice(mode), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "tool":
            return ToolChoice("named", fields.text(choice, "name", "tool_choice.")), parallel
    raise fields.wrong("tool_choice.type", "must be one of auto, any, tool, none")


def _stop_sequences(body: Fields) -> tuple[str, ...]:
    sequences = body.get("stop_sequences")
    if sequences is None:
        return ()
    if type(sequences) is list and all(type(sequence) is str for sequence in sequences):
        return tuple(sequences)
    raise fields.wrong("stop_sequences", "must be an array of strings")


def _output_schema(output: Fields) -> dict[str, Any] | None:
    match output.get("format"):
        case None:
            return None
        case {"type": "json_schema", "schema": dict(schema)}:
            return schema
    raise fields.unsayable("output_config.format")


def _effort(body: Fields, output: Fields) -> Effort | None:
    effort: Effort | None = output.get("effort")
    if effort is not None:
        if effort not in get_args(Effort):
            raise fields.unsayable("output_config.effort")
        return effort
    match fields.member(body, "thinking"):
        case {"type": "disabled"}:
            return "none"
        case {"type": "enabled"}:
            budget = fields.integer(body["thinking"], "budget_tokens", 10_000_000, "thinking.")
            return _effort_of_budget(budget or _LOW_BUDGET)
    return None


def _effort_of_budget(budget: int) -> Effort:
    if budget <= _LOW_BUDGET:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET else "high"
