"""A conversation in no provider's words: what stands between two wire formats.

Only translation meets these types; where both sides speak the same format the bytes pass.
"""

from dataclasses import dataclass
from typing import Any, Literal

from billing.usage import Usage

Role = Literal["system", "user", "assistant"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Finish = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """By its address, or inline as base64 of a media type."""

    url: str = ""
    media_type: str = ""
    data: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A PDF, inline as base64."""

    data: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    text: str


@dataclass(frozen=True, slots=True)
class Refusal:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Attributes: arguments: a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    call_id: str
    parts: tuple[Text | Image | Document, ...]
    is_error: bool = False


Part = Text | Image | Document | Refusal | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    schema: dict[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Attributes: name: of the tool, when the mode is "named"."""

    mode: Literal["auto", "none", "required", "named"]
    name: str = ""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a caller asks for. None and empty mean: not said."""

    messages: tuple[Message, ...]
    stream: bool
    max_output_tokens: int | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    output_schema: dict[str, Any] | None = None
    effort: Effort | None = None
    end_user: str = ""


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    id: str
    model: str
    parts: tuple[Text | Reasoning | Refusal | ToolCall, ...]
    finish: Finish
    usage: Usage | None
    stop_sequence: str | None = None


# What a streamed answer is made of, in the order in which it can come.


@dataclass(frozen=True, slots=True)
class Started:
    """Comes first, once."""

    id: str
    model: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """Attributes: index: of the call among the answer's tool calls, from 0."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolArguments:
    """A piece of a call's arguments as JSON text; pieces of parallel calls may interleave."""

    index: int
    fragment: str


@dataclass(frozen=True, slots=True)
class Finished:
    finish: Finish
    stop_sequence: str | None = None


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The provider's figures so far; a later report replaces an earlier one."""

    usage: Usage | None


StreamEvent = (
    Started
    | TextDelta
    | ReasoningDelta
    | RefusalDelta
    | ToolCallStarted
    | ToolArguments
    | Finished
    | UsageReported
)
