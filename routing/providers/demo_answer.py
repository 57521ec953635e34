"""What the demo provider says, before any wire format: words, a tool call, or JSON."""

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

# Real providers cache prompts from about this length; here it is short, so that a demo shows it.
CACHED_FROM_TOKENS: Final = 64
_DEEPEST_SCHEMA: Final = 8
_TOKEN = re.compile(r"\w{1,4}|[^\w\s]")


@dataclass(frozen=True, slots=True)
class DemoTool:
    name: str
    schema: Any


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """A request in either format.

    Attributes:
        earlier: the text of everything before the last message.
        last: the text of the last user message; empty when the last message is a tool's result.
        tool_result: the text of a tool's result, when the last message is one.
        tool: the first tool given, if the caller lets it be called.
        must_call: the caller demands a tool call.
        json_schema: what the answer has to fit; {} for any JSON; None for plain text.
    """

    model: str
    earlier: str
    last: str
    tool_result: str | None
    tool: DemoTool | None
    must_call: bool
    json_schema: Any
    max_output_tokens: int | None
    choices: int
    include_usage: bool


@dataclass(frozen=True, slots=True)
class DemoAnswer:
    """Attributes: `pieces` are the text, or the tool's arguments, as a stream sends them."""

    pieces: tuple[str, ...]
    tool: DemoTool | None
    stop: Literal["stop", "length", "tool"]
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int


def answer(request: DemoRequest) -> DemoAnswer:
    """The same answer to the same request, always."""
    tool = request.tool if _wants_tool(request) else None
    text = _text(request, tool)
    pieces = _pieces(text)
    stop: Literal["stop", "length", "tool"] = "tool" if tool else "stop"
    limit = request.max_output_tokens
    if limit is not None and len(pieces) > limit:
        pieces, stop = pieces[:limit], "length"
    earlier, last = tokens(request.earlier), tokens(request.last + (request.tool_result or ""))
    return DemoAnswer(
        pieces=tuple(pieces),
        tool=tool,
        stop=stop,
        input_tokens=earlier + last,
        cached_input_tokens=earlier if earlier + last > CACHED_FROM_TOKENS else 0,
        output_tokens=len(pieces) * request.choices,
    )


def tokens(text: str) -> int:
    """One for every four letters of a word and for every mark: never more than the letters."""
    return len(_TOKEN.findall(text))


def _pieces(text: str) -> list[str]:
    """The text cut into tokens, with the blanks before each."""
    pieces, start = [], 0
    for token in _TOKEN.finditer(text):
        pieces.append(text[start : token.end()])
        start = token.end()
    if pieces:
        pieces[-1] += text[start:]
    return pieces


def _wants_tool(request: DemoRequest) -> bool:
    if request.tool is None or request.tool_result is not None:
        return False
    asked = request.last.lower()
    return request.must_call or any(
        word in asked for word in ("tool", "call", request.tool.name.lower())
    )


def _text(request: DemoRequest, tool: DemoTool | None) -> str:
    if tool is not None:
        return orjson.dumps(instance_of(tool.schema)).decode()
    if request.json_schema is not None:
        return orjson.dumps(instance_of(request.json_schema)).decode()
    if request.tool_result is not None:
        return f"The tool answered: {request.tool_result}"
    return f"You said: {request.last}" if request.last else "You said nothing."


def instance_of(schema: Any) -> Any:
    """A small value that fits a JSON schema, as far as its plain keywords go."""
    return _instance(schema, schema, _DEEPEST_SCHEMA)


def _instance(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth == 0:
        return {}
    schema = _resolved(schema, root)
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    if isinstance(choices := schema.get("enum"), list) and choices:
        return choices[0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(options := schema.get(keyword), list) and options:
            return _instance(options[0], root, depth - 1)
    kind = schema.get("type", "object")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "string":
            return "demo".ljust(_whole(schema.get("minLength")), "-")
        case "integer" | "number":
            return max(_whole(schema.get("minimum")), _whole(schema.get("exclusiveMinimum")) + 1)
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            least = max(_whole(schema.get("minItems")), 1)
            return [_instance(schema.get("items", {"type": "string"}), root, depth - 1)] * least
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: _instance(part, root, depth - 1) for name, part in properties.items()}


def _resolved(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    """Follow one `$ref` inside the document; a reference to a reference stays an empty object."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return schema
    place = root
    for part in reference.lstrip("#/").split("/"):
        if part:
            place = place.get(part, {}) if isinstance(place, dict) else {}
    return place if isinstance(place, dict) else {}


def _whole(bound: object) -> int:
    """A numeric bound of a schema, kept small: it comes from the caller."""
    return max(0, min(int(bound), 1000)) if isinstance(bound, int | float) else 0
