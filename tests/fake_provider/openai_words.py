"""An answer in the words of OpenAI's chat completions."""

import json
from collections.abc import Iterator
from typing import Any

from tests.fake_provider.answer import Answer
from tests.fake_provider.behaviour import Behaviour

DONE = b"data: [DONE]\n\n"


def error_body(behaviour: Behaviour) -> dict[str, Any]:
    error = {
        "message": behaviour.message,
        "type": behaviour.error_type,
        "param": None,
        "code": behaviour.error_code,
    }
    return {"error": error}


def error_frame(behaviour: Behaviour) -> bytes:
    return _frame(error_body(behaviour))


def usage(answer: Answer, behaviour: Behaviour) -> dict[str, Any] | None:
    """The usage to report; what is wrong with it, the behaviour says."""
    counted = {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens + behaviour.reasoning,
        "total_tokens": answer.input_tokens + answer.output_tokens + behaviour.reasoning,
        "prompt_tokens_details": {"cached_tokens": behaviour.cached},
        "completion_tokens_details": {"reasoning_tokens": behaviour.reasoning},
    }
    match behaviour.usage:
        case "absent":
            return None
        case "zero":
            return dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0)
        case "negative":
            return counted | {"completion_tokens": -5}
        case "huge":
            return counted | {"completion_tokens": 10**30}
        case "text":
            return counted | {"completion_tokens": "many"}
    return counted


def whole(answer: Answer, model: str, behaviour: Behaviour) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.calls:
        message["tool_calls"] = [_call(index, *call) for index, call in enumerate(answer.calls)]
    body = _envelope("chat.completion", model) | {
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish}
            for index in range(answer.choices)
        ],
        "x_unknown_field": {"kept": [1, 2.50, "three"]},
    }
    reported = usage(answer, behaviour)
    return body | ({"usage": reported} if reported is not None else {})


def frames(
    answer: Answer, body: dict[str, Any], behaviour: Behaviour
) -> Iterator[tuple[bytes, int]]:
    """The frames of a stream, each with the number of output tokens in it."""
    model = str(body.get("model"))
    envelope = _envelope("chat.completion.chunk", model)
    reported = usage(answer, behaviour)
    asked = bool((body.get("stream_options") or {}).get("include_usage"))
    extra: dict[str, Any] = {"usage": None} if asked else {}
    if behaviour.usage == "every_chunk":
        extra = {"usage": reported}

    def chunk(index: int, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _frame(envelope | {"choices": [choice]} | extra)

    for index in range(answer.choices):
        yield chunk(index, {"role": "assistant", "content": ""}), 0
        for word in answer.words:
            yield chunk(index, {"content": word}), 1
        for position, (name, arguments) in enumerate(answer.calls):
            opened = _call(position, name, "") | {"index": position}
            yield chunk(index, {"tool_calls": [opened]}), 0
            for start in range(0, len(arguments), 5):
                piece = {"index": position, "function": {"arguments": arguments[start : start + 5]}}
                yield chunk(index, {"tool_calls": [piece]}), len(arguments[start : start + 5])
        yield chunk(index, {}, answer.finish), 0
    if asked and reported is not None and behaviour.usage != "every_chunk":
        yield _frame(envelope | {"choices": [], "usage": reported}), 0
    if behaviour.done:
        yield DONE, 0


def _call(index: int, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_fake{index}", "type": "function", "function": function}


def _envelope(kind: str, model: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": kind,
        "created": 1_700_000_000,
        "model": f"{model}-2026-01-01",
        "system_fingerprint": "fp_fake",
    }


def _frame(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"
