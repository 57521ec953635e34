"""An answer in the words of Anthropic's messages."""

import json
from collections.abc import Iterator
from typing import Any

from tests.fake_provider.answer import Answer
from tests.fake_provider.behaviour import Behaviour

STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


def error_body(behaviour: Behaviour) -> dict[str, Any]:
    error = {"type": behaviour.error_type, "message": behaviour.message}
    return {"type": "error", "error": error, "request_id": "req_fake"}


def error_frame(behaviour: Behaviour) -> bytes:
    return _frame("error", error_body(behaviour))


def usage(answer: Answer, behaviour: Behaviour) -> dict[str, Any]:
    """The usage to report: cached and written input is counted beside `input_tokens`."""
    counted: dict[str, Any] = {
        "input_tokens": answer.input_tokens - behaviour.cached - behaviour.written,
        "cache_read_input_tokens": behaviour.cached,
        "cache_creation_input_tokens": behaviour.written,
        "cache_creation": {
            "ephemeral_5m_input_tokens": behaviour.written - behaviour.written_1h,
            "ephemeral_1h_input_tokens": behaviour.written_1h,
        },
        "output_tokens": answer.output_tokens + behaviour.reasoning,
        "service_tier": "standard",
    }
    match behaviour.usage:
        case "absent":
            return {}
        case "zero":
            return {"input_tokens": 0, "output_tokens": 0}
        case "negative":
            return counted | {"output_tokens": -5}
        case "huge":
            return counted | {"output_tokens": 10**30}
        case "text":
            return counted | {"output_tokens": "many"}
    return counted


def whole(answer: Answer, model: str, behaviour: Behaviour) -> dict[str, Any]:
    body = _message(model) | {
        "content": [block | filled for block, filled, _ in _blocks(answer)],
        "stop_reason": STOP_REASONS[answer.finish],
        "x_unknown_field": {"kept": [1, 2.50, "three"]},
    }
    reported = usage(answer, behaviour)
    return body | ({"usage": reported} if reported else {})


def frames(
    answer: Answer, body: dict[str, Any], behaviour: Behaviour
) -> Iterator[tuple[bytes, int]]:
    """The frames of a stream, each with the number of output tokens in it."""
    reported = usage(answer, behaviour)
    message = _message(str(body.get("model"))) | {"content": [], "stop_reason": None}
    if reported:
        message["usage"] = reported | {"output_tokens": 1}
    yield _frame("message_start", {"message": message}), 0
    yield _frame("ping", {}), 0
    for index, (block, _, deltas) in enumerate(_blocks(answer)):
        yield _frame("content_block_start", {"index": index, "content_block": block}), 0
        for delta, tokens in deltas:
            yield _frame("content_block_delta", {"index": index, "delta": delta}), tokens
        yield _frame("content_block_stop", {"index": index}), 0
    ended: dict[str, Any] = {
        "delta": {"stop_reason": STOP_REASONS[answer.finish], "stop_sequence": None}
    }
    if reported:
        ended["usage"] = {"output_tokens": reported["output_tokens"]}
    yield _frame("message_delta", ended), 0
    yield _frame("message_stop", {}), 0


def _blocks(
    answer: Answer,
) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[tuple[dict[str, Any], int]]]]:
    """Each content block: as it starts, what fills it, and the deltas that do."""
    if answer.words:
        deltas = [({"type": "text_delta", "text": word}, 1) for word in answer.words]
        yield {"type": "text", "text": ""}, {"text": answer.text}, deltas
    for index, (name, arguments) in enumerate(answer.calls):
        pieces = [arguments[start : start + 5] for start in range(0, len(arguments), 5)]
        deltas = [
            ({"type": "input_json_delta", "partial_json": piece}, len(piece)) for piece in pieces
        ]
        block = {"type": "tool_use", "id": f"toolu_fake{index}", "name": name, "input": {}}
        yield block, {"input": json.loads(arguments)}, deltas


def _message(model: str) -> dict[str, Any]:
    return {
        "id": "msg_fake",
        "type": "message",
        "role": "assistant",
        "model": f"{model}-20260101",
        "stop_sequence": None,
    }


def _frame(event: str, data: dict[str, Any]) -> bytes:
    text = json.dumps({"type": event} | data, ensure_ascii=False)
    return f"event: {event}\ndata: {text}\n\n".encode()
