"""From request headers to the facts of an `Arrival`: end user, tags, what a provider may see."""

import re
from collections.abc import Mapping

from keys.caller import Caller
from keys.errors import InvalidRequestError
from routing.gateway_api.request import GatewayRequest
from routing.running_call import Arrival
from routing.wire.call import CallRequest

LONGEST_END_USER = 256
MOST_TAGS = 32
_TAG = re.compile(r"([A-Za-z0-9_.:-]{1,64})=([^,;=\x00-\x1f\x7f]{0,256})")
# The only client headers that travel on: they select features of Anthropic's API.
_PASSED_ON = {
    "HTTP_ANTHROPIC_BETA": "anthropic-beta",
    "HTTP_ANTHROPIC_VERSION": "anthropic-version",
}
_SAFE_HEADER = re.compile(r"[A-Za-z0-9._:, -]{1,1024}")


def arrival_of(request: GatewayRequest, caller: Caller, call: CallRequest) -> Arrival:
    """Raises:
    InvalidRequestError: an end user or tags that cannot be kept. HTTP 400.
    """
    return Arrival(
        request_id=request.request_id,
        address=request.path.rstrip("/"),
        at=request.arrived_at,
        monotonic=request.arrived_monotonic,
        end_user=end_user_header(request) or call.end_user,
        tags=_tags(request, caller),
        upstream_headers=_passed_on(request),
    )


def end_user_header(request: GatewayRequest) -> str:
    """`X-User-ID`, or empty."""
    end_user = _text(request.META.get("HTTP_X_USER_ID", ""), "X-User-ID")
    if len(end_user) > LONGEST_END_USER:
        raise InvalidRequestError(
            f"X-User-ID is over {LONGEST_END_USER} characters.", param="X-User-ID"
        )
    return end_user


def _tags(request: GatewayRequest, caller: Caller) -> Mapping[str, str]:
    header = _text(request.META.get("HTTP_X_GATEWAY_TAGS", ""), "X-Gateway-Tags")
    tags = dict(caller.tags)
    if not header:
        return tags
    for pair in header.split(","):
        match = _TAG.fullmatch(pair.strip())
        if match is None:
            raise InvalidRequestError(
                "X-Gateway-Tags is name=value pairs, separated by commas.", param="X-Gateway-Tags"
            )
        tags[match[1]] = match[2]
    if len(tags) > MOST_TAGS:
        raise InvalidRequestError(f"More than {MOST_TAGS} tags.", param="X-Gateway-Tags")
    return tags


def _text(header: str, name: str) -> str:
    """What a client wrote: Django reads every header as Latin-1."""
    try:
        return header.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{name} is not UTF-8.", param=name) from None


def _passed_on(request: GatewayRequest) -> Mapping[str, str]:
    passed = {}
    for meta, name in _PASSED_ON.items():
        value = request.META.get(meta)
        if value is not None and _SAFE_HEADER.fullmatch(value):
            passed[name] = value
    return passed
