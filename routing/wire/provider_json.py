"""Reading what a provider sent, which may be anything: odd shapes read as empty."""

from typing import Any

import orjson

from routing.errors import UpstreamProtocolError

Json = dict[str, Any]


def read_object(raw: bytes) -> Json:
    """A whole answer.

    Raises:
        UpstreamProtocolError: not a JSON object. HTTP 502.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise UpstreamProtocolError("The provider's answer is not valid JSON") from None
    if type(body) is not dict:
        raise UpstreamProtocolError("The provider's answer is not a JSON object")
    return body


def read_event_data(data: bytes) -> Json | None:
    """The object in an event's data; None for data that never was JSON, such as keep-alives.

    Raises:
        UpstreamProtocolError: broken JSON, which may have been part of the answer.
    """
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        if data.lstrip()[:1] not in (b"{", b"["):
            return None
        raise UpstreamProtocolError("The provider sent an event that is not valid JSON") from None
    return parsed if type(parsed) is dict else None


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
