"""A request in neutral words, written as a Chat Completions request."""

from typing import Any

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
from routing.wire.openai_chat.passing import is_reasoning_model, output_limit_field

# A schema needs a name here; nobody sees it.
SCHEMA_NAME = "answer"

Json = dict[str, Any]


def write_request(request: ChatRequest, model: str) -> bytes:
    """The body of a Chat Completions request; a stream is always asked for its usage."""
    body: Json = {"model": model, "messages": _messages(request.messages)}
    if request.max_output_tokens is not None:
        body[output_limit_field(model)] = request.max_output_tokens
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.tool_choice:
            body["tool_choice"] = _tool_choice(request.tool_choice)
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop"] = request.stop
    if request.output_schema is not None:
        schema = {"name": SCHEMA_NAME, "schema": request.output_schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if request.effort and is_reasoning_model(model):
        body["reasoning_effort"] = request.effort
    if request.end_user:
        body["user"] = request.end_user
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json_body.encode(body)


def _messages(messages: tuple[Message, ...]) -> list[Json]:
    written: list[Json] = []
    for message in messages:
        if message.role == "assistant":
            written.append(_assistant(message.parts))
        elif message.role == "system":
            text = "\n\n".join(part.text for part in message.parts if isinstance(part, Text))
            written.append({"role": "system", "content": text})
        else:
            written += _user(message.parts)
    return written


def _assistant(parts: tuple[Part, ...]) -> Json:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
    calls = [_tool_call(part) for part in parts if isinstance(part, ToolCall)]
    written: Json = {"role": "assistant", "content": text or ("" if not calls else None)}
    if refusal:
        written["refusal"] = refusal
    if calls:
        written["tool_calls"] = calls
    return written


def _user(parts: tuple[Part, ...]) -> list[Json]:
    """Tool results, then one user message with the rest.

    A tool message holds only text: what else a tool returned follows in the user message.
    """
    results = [part for part in parts if isinstance(part, ToolResult)]
    said = [part for part in parts if isinstance(part, Text | Image | Document)]
    shown = [inner for result in results for inner in result.parts if not isinstance(inner, Text)]
    written = [_tool_result(result) for result in results]
    content = [_content_part(part) for part in (*shown, *said)]
    if content:
        alone = len(said) == 1 and not shown and isinstance(said[0], Text)
        written.append({"role": "user", "content": content[0]["text"] if alone else content})
    return written


def _tool_result(result: ToolResult) -> Json:
    text = "\n".join(part.text for part in result.parts if isinstance(part, Text))
    if result.is_error:
        text = f"Error: {text}"
    return {"role": "tool", "tool_call_id": result.call_id, "content": text}


def _content_part(part: Text | Image | Document) -> Json:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, media_type, data):
            address = url or f"data:{media_type};base64,{data}"
            return {"type": "image_url", "image_url": {"url": address}}
        case Document(data, name):
            file = {
                "filename": name or "document.pdf",
                "file_data": f"data:application/pdf;base64,{data}",
            }
            return {"type": "file", "file": file}


def _tool_call(call: ToolCall) -> Json:
    arguments = json_body.encode(call.arguments).decode()
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool(tool: Tool) -> Json:
    function: Json = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.schema
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice) -> str | Json:
    if choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode
