"""What the fake provider has to say to a request, before it is put in either format's words."""

import json
from dataclasses import dataclass
from typing import Any

from tests.fake_provider.behaviour import Behaviour


@dataclass(frozen=True, slots=True)
class Answer:
    """The content of an answer and its true token counts.

    Attributes:
        words: the text, cut where a token begins; joined they are the text.
        calls: (name, arguments) of the tools to call; arguments are JSON.
        finish: stop, length or tool_calls.
        choices: how many alternatives the caller asked for, all alike.
    """

    words: tuple[str, ...]
    calls: tuple[tuple[str, str], ...]
    finish: str
    input_tokens: int
    choices: int = 1

    @property
    def text(self) -> str:
        return "".join(self.words)

    @property
    def output_tokens(self) -> int:
        return self.choices * (len(self.words) + sum(len(args) for _, args in self.calls))


def answer(body: dict[str, Any], size: int, behaviour: Behaviour) -> Answer:
    """What to say to a request body of `size` bytes, in either format."""
    input_tokens = behaviour.input_tokens or max(1, size // 4)
    choices = int(body.get("n") or 1)
    tools = [tool for tool in map(_tool, body.get("tools") or []) if tool[0]]
    results = _tool_results(body)
    if tools and not results:
        calls = tuple(
            (name, json.dumps(_instance(schema)))
            for name, schema in (tools * behaviour.tool_calls)[: behaviour.tool_calls]
        )
        return Answer((), calls, "tool_calls", input_tokens, choices)
    schema = _wanted_schema(body)
    if schema is not None:
        text = json.dumps(_instance(schema))
    elif results:
        text = f"The tool said {results[-1]}"
    elif images := _images(body):
        text = f"I see {images} image(s)."
    elif behaviour.words is not None:
        text = " ".join(["word"] * behaviour.words)
    else:
        text = behaviour.text
    return _cut(_words(text), _allowed(body), input_tokens, choices)


def _cut(words: tuple[str, ...], allowed: int | None, input_tokens: int, n: int) -> Answer:
    if allowed is not None and len(words) > allowed:
        return Answer(words[:allowed], (), "length", input_tokens, n)
    return Answer(words, (), "stop", input_tokens, n)


def _words(text: str) -> tuple[str, ...]:
    first, *rest = text.split(" ")
    return (first, *(f" {word}" for word in rest))


def _allowed(body: dict[str, Any]) -> int | None:
    said = body.get("max_completion_tokens") or body.get("max_tokens")
    return int(said) if said else None


def _tool(tool: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    function = tool.get("function") or tool
    schema = function.get("parameters") or function.get("input_schema") or {}
    return str(function.get("name") or ""), schema


def _parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    contents = [message.get("content") for message in body.get("messages") or []]
    return [
        part
        for content in contents
        if isinstance(content, list)
        for part in content
        if isinstance(part, dict)
    ]


def _tool_results(body: dict[str, Any]) -> list[str]:
    openai = [m["content"] for m in body.get("messages") or [] if m.get("role") == "tool"]
    anthropic = [p.get("content") for p in _parts(body) if p.get("type") == "tool_result"]
    return [_plain(result) for result in (*openai, *anthropic)]


def _plain(content: object) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content)
    return str(content)


def _images(body: dict[str, Any]) -> int:
    return sum(part.get("type") in {"image_url", "image"} for part in _parts(body))


def _wanted_schema(body: dict[str, Any]) -> dict[str, Any] | None:
    openai = (body.get("response_format") or {}).get("json_schema") or {}
    anthropic = (body.get("output_config") or {}).get("format") or {}
    schema = openai.get("schema") or anthropic.get("schema")
    return schema if isinstance(schema, dict) else None


def _instance(schema: dict[str, Any]) -> Any:
    """The smallest thing that a JSON schema of the simple kind allows."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object":
        return {name: _instance(part) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        return [_instance(schema.get("items", {}))]
    return {"integer": 7, "number": 1.5, "boolean": True, "null": None}.get(
        str(schema.get("type")), "Paris"
    )
