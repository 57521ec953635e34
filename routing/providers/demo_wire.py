"""The demo provider's answers in the bytes of the two formats that it speaks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

from routing.providers.demo_answer import DemoAnswer, DemoRequest, DemoTool

# A fixed moment: the same request gives the same bytes.
_CREATED = 1_767_225_600

_OPENAI_STOPS = {"stop": "stop", "length": "length", "tool": "tool_calls"}
_ANTHROPIC_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use"}


@dataclass(frozen=True, slots=True)
class DemoWire:
    """One format: read a request, write an answer whole or in frames.

    The number makes ids unique within a process.
    """

    read: Callable[[Any], DemoRequest]
    whole: Callable[[DemoRequest, DemoAnswer, int], dict[str, Any]]
    frames: Callable[[DemoRequest, DemoAnswer, int], list[bytes]]


def _read_openai(body: Any) -> DemoRequest:
    earlier, last = body["messages"][:-1], body["messages"][-1]
    tools = [
        DemoTool(one["function"]["name"], one["function"].get("parameters"))
        for one in body.get("tools") or []
        if one.get("type") == "function"
    ]
    choice = body.get("tool_choice")
    form = body.get("response_format") or {}
    schema = None
    if form.get("type") == "json_schema":
        schema = form["json_schema"].get("schema", {})
    elif form.get("type") == "json_object":
        schema = {}
    is_result = last["role"] == "tool"
    return DemoRequest(
        model=body["model"],
        earlier="\n".join(_text(one.get("content")) for one in earlier),
        last="" if is_result else _text(last.get("content")),
        tool_result=_text(last.get("content")) if is_result else None,
        tool=_offered(tools, choice["function"]["name"] if isinstance(choice, dict) else choice),
        must_call=choice == "required" or isinstance(choice, dict),
        json_schema=schema,
        max_output_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        choices=body.get("n") or 1,
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


def _read_anthropic(body: Any) -> DemoRequest:
    earlier, last = body["messages"][:-1], body["messages"][-1]
    choice = body.get("tool_choice") or {}
    tools = [DemoTool(one["name"], one.get("input_schema")) for one in body.get("tools") or []]
    wanted = choice["name"] if choice.get("type") == "tool" else choice.get("type")
    blocks = last["content"] if isinstance(last["content"], list) else []
    results = [_text(b.get("content")) for b in blocks if b.get("type") == "tool_result"]
    output = body.get("output_format") or (body.get("output_config") or {}).get("format") or {}
    return DemoRequest(
        model=body["model"],
        earlier="\n".join([_text(body.get("system")), *(_text(m["content"]) for m in earlier)]),
        last="" if results else _text(last["content"]),
        tool_result="\n".join(results) if results else None,
        tool=_offered(tools, wanted),
        must_call=choice.get("type") in ("any", "tool"),
        json_schema=output.get("schema", {}) if output.get("type") == "json_schema" else None,
        max_output_tokens=body["max_tokens"],
        choices=1,
        include_usage=True,
    )


def _offered(tools: list[DemoTool], wanted: str | None) -> DemoTool | None:
    if wanted == "none":
        return None
    named = [tool for tool in tools if tool.name == wanted]
    return next(iter(named or tools), None)


def _text(content: Any) -> str:
    """All text in a message's content, whichever its form."""
    if isinstance(content, str):
        return content
    parts = [part.get("text") or _text(part.get("content")) for part in content or []]
    return "\n".join(part for part in parts if part)


def _whole_openai(request: DemoRequest, answer: DemoAnswer, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if answer.tool:
        message["tool_calls"] = [
            {"id": f"call_demo{number}", "type": "function",
             "function": {"name": answer.tool.name, "arguments": "".join(answer.pieces)}}
        ]  # fmt: skip
    else:
        message["content"] = "".join(answer.pieces)
    return {
        "id": f"chatcmpl-demo{number}",
        "object": "chat.completion",
        "created": _CREATED,
        "model": request.model,
        "choices": [
            {"index": index, "message": message, "logprobs": None,
             "finish_reason": _OPENAI_STOPS[answer.stop]}
            for index in range(request.choices)
        ],
        "usage": _openai_usage(answer),
    }  # fmt: skip


def _openai_usage(answer: DemoAnswer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _frames_openai(request: DemoRequest, answer: DemoAnswer, number: int) -> list[bytes]:
    head = {
        "id": f"chatcmpl-demo{number}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": request.model,
    }
    said_later: dict[str, Any] = {"usage": None} if request.include_usage else {}

    def frame(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _data(head | {"choices": [choice]} | said_later)

    frames = []
    for index in range(request.choices):
        frames.append(frame(index, {"role": "assistant", "content": "", "refusal": None}))
        if answer.tool:
            begin = {"index": 0, "id": f"call_demo{number}", "type": "function"}
            function = {"name": answer.tool.name, "arguments": ""}
            frames.append(frame(index, {"tool_calls": [begin | {"function": function}]}))
        for piece in answer.pieces:
            called = {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
            frames.append(frame(index, called if answer.tool else {"content": piece}))
        frames.append(frame(index, {}, _OPENAI_STOPS[answer.stop]))
    if request.include_usage:
        frames.append(_data(head | {"choices": [], "usage": _openai_usage(answer)}))
    return [*frames, b"data: [DONE]\n\n"]


def _data(content: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % orjson.dumps(content)


def _whole_anthropic(request: DemoRequest, answer: DemoAnswer, number: int) -> dict[str, Any]:
    text = "".join(answer.pieces)
    block: dict[str, Any] = {"type": "text", "text": text}
    if answer.tool:
        block = _tool_block(answer.tool, number, _parsed(text))
    return _message(request, number) | {
        "content": [block],
        "stop_reason": _ANTHROPIC_STOPS[answer.stop],
        "usage": _anthropic_usage(answer),
    }


def _message(request: DemoRequest, number: int) -> dict[str, Any]:
    return {
        "id": f"msg_demo{number}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _anthropic_usage(answer: DemoAnswer) -> dict[str, int]:
    return {
        "input_tokens": answer.input_tokens - answer.cached_input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": answer.cached_input_tokens,
        "output_tokens": answer.output_tokens,
    }


def _tool_block(tool: DemoTool, number: int, arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_demo{number}", "name": tool.name, "input": arguments}


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        # Arguments that the output bound has cut.
        return {}


def _frames_anthropic(request: DemoRequest, answer: DemoAnswer, number: int) -> list[bytes]:
    usage = _anthropic_usage(answer)
    block: dict[str, Any] = {"type": "text", "text": ""}
    if answer.tool:
        block = _tool_block(answer.tool, number, {})
    stop = {"stop_reason": _ANTHROPIC_STOPS[answer.stop], "stop_sequence": None}
    start = _message(request, number) | {"usage": usage | {"output_tokens": 1}}
    frames = [
        _event("message_start", message=start),
        _event("content_block_start", index=0, content_block=block),
    ]
    for piece in answer.pieces:
        delta = {"type": "text_delta", "text": piece}
        if answer.tool:
            delta = {"type": "input_json_delta", "partial_json": piece}
        frames.append(_event("content_block_delta", index=0, delta=delta))
    return [
        *frames,
        _event("content_block_stop", index=0),
        _event("message_delta", delta=stop, usage=usage),
        _event("message_stop"),
    ]


def _event(name: str, **content: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps({"type": name} | content))


OPENAI_CHAT = DemoWire(_read_openai, _whole_openai, _frames_openai)
ANTHROPIC_MESSAGES = DemoWire(_read_anthropic, _whole_anthropic, _frames_anthropic)
