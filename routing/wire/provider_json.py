"""Reading what a provider sent, which may be anything: odd shapes read as empty."""

import json
from typing import Any

import orjson

from routing.errors import UpstreamProtocolError

Json = dict[str, Any]
_LARGEST_FIGURE = 1e300


def parse(raw: bytes) -> Any:
    """As leniently as the official clients: half an emoji, a figure beyond all bounds, bytes that
    are not UTF-8. What cannot be stored or sent on is replaced.

    Raises:
        ValueError: not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass
    try:
        text = json.dumps(
            json.loads(raw.decode(errors="replace"), parse_float=_finite, parse_constant=_nothing),
            ensure_ascii=False,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return orjson.loads(text.encode(errors="replace"))


def _finite(figure: str) -> float:
    return max(-_LARGEST_FIGURE, min(_LARGEST_FIGURE, float(figure)))


def _nothing(_constant: str) -> None:
    """NaN and infinities say nothing."""


def read_object(raw: bytes) -> Json:
    """A whole answer.

    Raises:
        UpstreamProtocolError: not a JSON object; the provider has worked all the same. HTTP 502.
    """
    try:
        body = parse(raw)
    except ValueError:
        raise _unreadable("The provider's answer is not valid JSON") from None
    if type(body) is not dict:
        raise _unreadable("The provider's answer is not a JSON object")
    return body


def read_event_data(data: bytes) -> Json | None:
    """The object in an event's data; None for data that never was JSON, such as keep-alives.

    Raises:
        UpstreamProtocolError: broken JSON, which may have been part of the answer.
    """
    try:
        parsed = parse(data)
    except ValueError:
        if data.lstrip()[:1] not in (b"{", b"["):
            return None
        raise _unreadable("The provider sent an event that is not valid JSON") from None
    return parsed if type(parsed) is dict else None


def _unreadable(message: str) -> UpstreamProtocolError:
    error = UpstreamProtocolError(message)
    error.maybe_billed = True
    return error


def object_of(value: object) -> Json:
    return value if type(value) is dict else {}


def objects_of(value: object) -> list[Json]:
    return [item for item in value if type(item) is dict] if type(value) is list else []


def text_of(content: object) -> str:
    """A string, or the texts of an array of parts, as some servers send them."""
    if type(content) is str:
        return content
    texts = (part.get("text") for part in objects_of(content))
    return "".join(text for text in texts if type(text) is str)


def number_of(value: object, otherwise: int) -> int:
    return value if type(value) is int else otherwise
