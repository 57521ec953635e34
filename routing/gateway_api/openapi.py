"""How the gateway's addresses look in the OpenAPI document at `/api/schema/`.

The bodies are OpenAI's and Anthropic's own; only what the gateway reads or adds is spelled out,
everything else travels on (`additionalProperties`).
"""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema

Schema = dict[str, Any]

_KEY_HEADERS = "An API key in `Authorization: Bearer`, `x-api-key`, `api-key` or `x-goog-api-key`."
_END_USER = OpenApiParameter(
    "X-User-ID", str, OpenApiParameter.HEADER, description="The application's end user."
)
_TAGS = OpenApiParameter(
    "X-Gateway-Tags", str, OpenApiParameter.HEADER, description="`project=alpha,env=prod`"
)


def _object(properties: Schema, required: tuple[str, ...] = (), *, more: bool = False) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": more}
    return schema | ({"required": list(required)} if required else {})


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_USD: Schema = {
    "type": "string",
    "nullable": True,
    "description": "Decimal, in USD; null while nothing but calls of unknown price is behind it.",
}
_OPENAI_ERROR = _object(
    {
        "error": _object(
            {
                "message": _TEXT,
                "type": _TEXT,
                "param": {"type": "string", "nullable": True},
                "code": {"type": "string", "nullable": True},
                "request_id": _TEXT,
            }
        )
    }
)
_ANTHROPIC_ERROR = _object(
    {
        "type": {"type": "string", "enum": ["error"]},
        "error": _object({"type": _TEXT, "message": _TEXT}),
        "request_id": _TEXT,
    }
)
_CHAT_REQUEST = _object(
    {
        "model": _TEXT,
        "messages": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "stream": {"type": "boolean"},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 10_000_000},
        "max_completion_tokens": {"type": "integer", "minimum": 1, "maximum": 10_000_000},
        "n": {"type": "integer", "minimum": 1, "maximum": 128},
        "provider": {
            "type": "string",
            "description": "A provider's name or kind; limits the choice. Never sent on.",
        },
        "user_id": {"type": "string", "maxLength": 256, "description": "Never sent on."},
    },
    ("model", "messages"),
    more=True,
)
_CHAT_ANSWER = _object({"provider": _TEXT, "latency_ms": _COUNT, "usage": {}}, more=True)
_MESSAGES_REQUEST = _object(
    {
        "model": _TEXT,
        "messages": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 10_000_000},
        "stream": {"type": "boolean"},
        "user_id": {"type": "string", "maxLength": 256, "description": "Never sent on."},
        "user": {"type": "string", "maxLength": 256, "description": "Never sent on."},
        "metadata": _object({"user_id": {"type": "string", "maxLength": 256}}, more=True),
    },
    ("model", "messages", "max_tokens"),
    more=True,
)
_USAGE = _object(
    {
        "date": {"type": "string", "format": "date"},
        "total_cost": _USD,
        "total_tokens": _COUNT,
        "request_count": _COUNT,
        "records": {"type": "array", "maxItems": 100, "items": {"type": "object"}},
    }
)
_RATE_LIMIT = _object(
    {
        "requests_remaining": {"type": "integer", "nullable": True},
        "tokens_remaining": {"type": "integer", "nullable": True},
        "reset_at": {"type": "integer", "nullable": True, "description": "Unix seconds."},
        "limits": {
            "type": "array",
            "items": _object(
                {
                    "scope": _TEXT,
                    "unit": _TEXT,
                    "window": {"type": "string", "nullable": True},
                    "ceiling": {},
                    "used": {},
                    "remaining": {},
                    "reset_at": {"type": "integer", "nullable": True},
                }
            ),
        },
    }
)
_RECEIPT = _object(
    {
        "request_id": _TEXT,
        "team": _TEXT,
        "key_name": _TEXT,
        "total_cost": _USD,
        "entries": {"type": "array", "items": {"type": "object"}},
        "attempts": {"type": "array", "items": {"type": "object"}},
        "limits": {"type": "array", "items": {"type": "object"}},
    }
)
_ANY: Schema = {"type": "object", "additionalProperties": True}


def _answers(schema: Schema, error: Schema, *, streams: bool = False) -> dict[Any, Any]:
    ok: dict[Any, Any] = {(200, "application/json"): OpenApiResponse(schema)}
    if streams:
        ok[200, "text/event-stream"] = OpenApiResponse(_TEXT, "With `stream: true`.")
    return ok | {
        "4XX": OpenApiResponse(error, "Refused; `Retry-After` tells when to come back."),
        "5XX": OpenApiResponse(error, "The provider's trouble, or ours."),
    }


chat_completions = extend_schema(
    operation_id="chat_completions",
    summary="OpenAI Chat Completions, whatever the provider",
    tags=["gateway"],
    request={"application/json": _CHAT_REQUEST},
    responses=_answers(_CHAT_ANSWER, _OPENAI_ERROR, streams=True),
    parameters=[_END_USER, _TAGS],
)
messages = extend_schema(
    operation_id="messages",
    summary="Anthropic Messages, whatever the provider",
    tags=["gateway"],
    request={"application/json": _MESSAGES_REQUEST},
    responses=_answers(_ANY, _ANTHROPIC_ERROR, streams=True),
    parameters=[_END_USER, _TAGS],
)
models = extend_schema(
    operation_id="models",
    summary="The models that this key may call",
    description="In Anthropic's shape when called with `anthropic-version`.",
    tags=["gateway"],
    responses=_answers(_ANY, _OPENAI_ERROR),
)
model = extend_schema(
    operation_id="model",
    summary="One model that this key may call",
    tags=["gateway"],
    responses=_answers(_ANY, _OPENAI_ERROR),
)
usage = extend_schema(
    operation_id="usage",
    summary="A day of this key's team, in the team's time zone",
    tags=["gateway"],
    parameters=[
        OpenApiParameter("date", str, description="YYYY-MM-DD; today when absent."),
        OpenApiParameter("scope", str, enum=["team", "key"]),
        _END_USER,
    ],
    responses=_answers(_USAGE, _OPENAI_ERROR),
)
rate_limit = extend_schema(
    operation_id="rate_limit",
    summary="Every limit of this key, exact",
    tags=["gateway"],
    parameters=[_END_USER],
    responses=_answers(_RATE_LIMIT, _OPENAI_ERROR),
)
receipt = extend_schema(
    operation_id="receipt",
    summary="What one request of this key's team took",
    tags=["gateway"],
    responses=_answers(_RECEIPT, _OPENAI_ERROR),
)
revoke = extend_schema(
    operation_id="revoke_key",
    summary="Revoke the key that this is called with",
    tags=["gateway"],
    request=None,
    responses=_answers(_object({"id": _COUNT, "revoked": {"type": "boolean"}}), _OPENAI_ERROR),
)


class GatewayKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """`GatewayKey` marks the addresses that take an API key; it is checked in `dispatch`."""

    target_class = "routing.gateway_api.views.GatewayKey"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> Schema:
        return {"type": "http", "scheme": "bearer", "description": _KEY_HEADERS}
