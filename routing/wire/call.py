"""What the gateway itself must know of a call, read strictly from its body.

Only the fields that steer or bound a call are checked; the rest is the provider's to judge
and travels on untouched. No other field can choose an address or a credential.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from routing.wire import fields, input_bound, json_body
from routing.wire.input_bound import InputBound

LONGEST_MODEL_NAME = 200
LONGEST_END_USER = 256
LONGEST_PROVIDER_NAME = 200
MOST_OUTPUT_TOKENS = 10_000_000
MOST_CHOICES = 128

_MODEL_NAME = re.compile(r"[A-Za-z0-9@][A-Za-z0-9._:/@+~-]*")
_OPENAI_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_ANTHROPIC_ROLES = frozenset({"user", "assistant", "system"})


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call, as its body states it.

    Attributes:
        raw: the body as it came.
        body: the same, parsed; an integer beyond 64 bits is a float here.
        max_output_tokens: per choice, reasoning included; the larger where two fields differ.
            None when the caller set none.
        provider: a provider's name or kind that limits the choice of target.
        end_user: whom the caller's application serves; "" when unnamed.
        include_usage: the caller asked for usage in a stream.
        output_token_bound: the most that a choice can take, whatever it is for; None as above.
        input_bound: no tokenizer makes more input tokens of this body.
    """

    raw: bytes
    body: dict[str, Any]
    format: str
    model: str
    stream: bool
    max_output_tokens: int | None
    choices: int
    provider: str | None
    end_user: str
    include_usage: bool
    output_token_bound: int | None
    input_bound: InputBound


def read_request(format: str, raw: bytes) -> CallRequest:
    """Read a call in a client's wire format.

    Raises:
        InvalidRequestError: not strict JSON, or a field that steers or bounds the call has a
            wrong type or value; `param` names the field. HTTP 400.
    """
    return _READERS[format](raw, json_body.decode(raw))


def _read_openai_chat(raw: bytes, body: dict[str, Any]) -> CallRequest:
    model = _model(body)
    _check_messages(body, _OPENAI_ROLES)
    _check_tools(body)
    options = fields.member(body, "stream_options") or {}
    limits = [
        limit
        for name in ("max_completion_tokens", "max_tokens")
        if (limit := fields.integer(body, name, MOST_OUTPUT_TOKENS)) is not None
    ]
    most = max(limits, default=None)
    return CallRequest(
        raw=raw,
        body=body,
        format="openai_chat",
        model=model,
        stream=fields.flag(body, "stream") or False,
        max_output_tokens=most,
        choices=fields.integer(body, "n", MOST_CHOICES) or 1,
        provider=fields.label(body, "provider", LONGEST_PROVIDER_NAME) or None,
        end_user=_own_end_user(body),
        include_usage=fields.flag(options, "include_usage", "stream_options.") or False,
        output_token_bound=most,
        input_bound=input_bound.of_openai_chat(raw, body),
    )


def _read_anthropic_messages(raw: bytes, body: dict[str, Any]) -> CallRequest:
    model = _model(body)
    limit = fields.integer(body, "max_tokens", MOST_OUTPUT_TOKENS)
    if limit is None:
        raise fields.wrong("max_tokens", "is required")
    _check_messages(body, _ANTHROPIC_ROLES)
    _check_tools(body)
    metadata = fields.member(body, "metadata") or {}
    return CallRequest(
        raw=raw,
        body=body,
        format="anthropic_messages",
        model=model,
        stream=fields.flag(body, "stream") or False,
        max_output_tokens=limit,
        choices=1,
        provider=None,
        end_user=_own_end_user(body)
        or fields.label(metadata, "user_id", LONGEST_END_USER, "metadata."),
        include_usage=True,
        output_token_bound=_with_thinking(body, limit),
        input_bound=input_bound.of_anthropic_messages(raw, body),
    )


_READERS: dict[str, Callable[[bytes, dict[str, Any]], CallRequest]] = {
    "openai_chat": _read_openai_chat,
    "anthropic_messages": _read_anthropic_messages,
}


def _model(body: dict[str, Any]) -> str:
    model = fields.text(body, "model")
    if len(model) > LONGEST_MODEL_NAME or not _MODEL_NAME.fullmatch(model):
        raise fields.wrong(
            "model", f"must be a name of at most {LONGEST_MODEL_NAME} letters, digits and ._:/@+~-"
        )
    return model


def _own_end_user(body: dict[str, Any]) -> str:
    return fields.label(body, "user_id", LONGEST_END_USER) or fields.label(
        body, "user", LONGEST_END_USER
    )


def _check_messages(body: dict[str, Any], roles: frozenset[str]) -> None:
    messages = body.get("messages")
    if type(messages) is not list or not messages:
        raise fields.wrong("messages", "must be a non-empty array")
    for index, message in enumerate(messages):
        if type(message) is not dict:
            raise fields.wrong(f"messages[{index}]", "must be an object")
        role = message.get("role")
        if type(role) is not str or role not in roles:
            raise fields.wrong(
                f"messages[{index}].role", f"must be one of {', '.join(sorted(roles))}"
            )


def _with_thinking(body: dict[str, Any], max_tokens: int) -> int:
    """A budget beyond max_tokens is allowed between tool calls, and lifts that limit.

    Source: https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking (2026-11-24).
    """
    thinking = fields.member(body, "thinking") or {}
    budget = fields.integer(thinking, "budget_tokens", MOST_OUTPUT_TOKENS, "thinking.") or 0
    return max_tokens + budget if budget > max_tokens else max_tokens


def _check_tools(body: dict[str, Any]) -> None:
    for _ in fields.members(body, "tools"):
        pass
