"""The gateway's own addresses, as DRF views: decode, one call, encode.

`dispatch` is our own and asynchronous: on success DRF's request wrapping and negotiation are
skipped; on errors its machinery runs in full and ends in `routing/error_table.py`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

import structlog
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.views import APIView

from billing import reports
from billing.entries import Refusal
from keys.authentication import check_address
from keys.caller import Caller
from keys.client_address import client_ip
from keys.credential_header import find_secret
from keys.errors import (
    GatewayError,
    InvalidKeyError,
    InvalidRequestError,
    ServiceUnavailableError,
)
from keys.failed_keys import count_failure
from keys.issuing import revoke_key_by_id
from keys.versions import read_version
from routing.error_table import (
    MethodNotAllowedError,
    ReceiptNotFoundError,
    RouteNotFoundError,
    UnexpectedError,
    leaving,
)
from routing.errors import ModelNotFoundError, UpstreamError
from routing.gateway_api import listings, openapi
from routing.gateway_api.arrival import arrival_of, end_user_header
from routing.gateway_api.database_threads import ask_database
from routing.gateway_api.request import ClientLeftError, GatewayRequest, closing_when_client_leaves
from routing.gateway_api.responses import (
    ServedResponse,
    error_response,
    json_response,
    served_headers,
)
from routing.gateway_api.services import Services
from routing.wire.bridges import add_gateway_fields
from routing.wire.call import CallRequest, read_request

log = structlog.get_logger(__name__)
# As nginx writes it down.
_CLIENT_LEFT = 499
_EVENT_STREAM = ((b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no"))


class GatewayKey(BaseAuthentication):
    """Names the scheme in the OpenAPI document; `GatewayView.dispatch` reads the key itself."""

    def authenticate(self, request: Request) -> None:
        return None


class GatewayView(APIView):
    """One address. Handlers are `async def get/post(request, caller, …)`."""

    authentication_classes = (GatewayKey,)
    permission_classes = ()
    request: Any

    async def dispatch(  # type: ignore[override]  # asynchronous, see the module's docstring
        self, request: GatewayRequest, *args: Any, **kwargs: Any
    ) -> HttpResponse | ServedResponse:
        self.request = request
        self.caller: Caller | None = None
        self.call: CallRequest | None = None
        try:
            handler: Callable[..., Any] | None = getattr(self, request.method.lower(), None)
            if handler is None or request.method == "OPTIONS":
                raise MethodNotAllowedError(f"{request.path} does not answer {request.method}.")
            self.caller = await self._authenticate(request)
            response: HttpResponse | ServedResponse = await handler(request, self.caller, **kwargs)
            return response
        except ClientLeftError:
            # Raised on, Django would log it as a mistake of ours; nobody reads the answer.
            return HttpResponse(status=_CLIENT_LEFT)
        except Exception as error:  # noqa: BLE001  # the edge: everything leaves by one table
            return self.handle_exception(error)

    async def _authenticate(self, request: GatewayRequest) -> Caller:
        services: Services = request.scope["state"]["services"]
        try:
            secret = find_secret(request.scope["headers"], request.scope["query_string"])
            caller = services.keyring.cached(secret, request.arrived_at)
            if caller is None:
                caller = await services.keyring.look_up(secret, request.arrived_at)
        except InvalidKeyError:
            await count_failure(client_ip(request.scope))
            raise
        if caller.allowed_ips:
            check_address(caller, client_ip(request.scope))
        return caller

    def get_exception_handler(self) -> Callable[..., HttpResponse]:
        return self._refuse

    def _refuse(self, error: Exception, context: dict[str, Any]) -> HttpResponse:
        request: GatewayRequest = self.request
        if isinstance(error, DatabaseError | InterfaceError):
            log.warning("database_unavailable", request_id=request.request_id, exc_info=error)
            error = ServiceUnavailableError("The gateway's database is not available.")
        if not isinstance(error, GatewayError):
            log.error("unexpected_error", request_id=request.request_id, exc_info=error)
            error = UnexpectedError("The gateway made a mistake; its log has the request id.")
        if not isinstance(error, UpstreamError):
            # A call that reached a provider is on the ledger; only others are refused calls.
            self._note(error)
        response = error_response(error, request)
        if isinstance(error, MethodNotAllowedError):
            response.headers["Allow"] = ", ".join(self.allowed_methods)
        return response

    def _note(self, error: GatewayError) -> None:
        request, caller, call = self.request, self.caller, self.call
        services: Services = request.scope["state"]["services"]
        refusal = Refusal(
            request_id=request.request_id,
            at=request.arrived_at,
            address=request.path[:64],
            code=leaving(error).code,
            message=error.message,
            requested_model=call.model if call else "",
            end_user=_end_user(request, call),
            team_id=caller.team_id if caller else None,
            team=caller.team_name if caller else "",
            key_id=caller.key_id if caller else None,
            key_name=caller.key_name if caller else "",
        )
        log.info(
            "refused",
            request_id=refusal.request_id,
            team=refusal.team,
            key_prefix=caller.key_prefix if caller else "",
            model=refusal.requested_model,
            error=refusal.code,
        )
        services.note_refusal(refusal)


def _end_user(request: GatewayRequest, call: CallRequest | None) -> str:
    try:
        return end_user_header(request) or (call.end_user if call else "")
    except InvalidRequestError:
        # Nobody, in a way that can be kept; that may be why the call was refused.
        return ""


class CallView(GatewayView):
    """An address that takes a call to a model."""

    wire_format: ClassVar[str]

    async def serve(self, request: GatewayRequest, caller: Caller) -> HttpResponse | ServedResponse:
        call = self.call = read_request(self.wire_format, await request.read_json_body())
        arrival = arrival_of(request, caller, call)
        services: Services = request.scope["state"]["services"]
        async with closing_when_client_leaves(request):
            if call.stream:
                stream = await services.pipeline.stream(caller, call, arrival)
                return ServedResponse(
                    [*served_headers(stream.served), *_EVENT_STREAM], stream.parts
                )
            answer = await services.pipeline.answer(caller, call, arrival)
        headers = served_headers(answer.served, with_cost=True)
        headers.append((b"content-type", b"application/json"))
        provider = answer.served.target.provider.name
        return ServedResponse(headers, self.encode(answer.body, provider, request))

    def encode(self, body: bytes, provider: str, request: GatewayRequest) -> bytes:
        return body


class ChatCompletionsView(CallView):
    """POST /v1/chat/completions, as OpenAI's, with `provider` and `latency_ms` added."""

    wire_format = "openai_chat"

    @openapi.chat_completions
    async def post(self, request: GatewayRequest, caller: Caller) -> HttpResponse | ServedResponse:
        return await self.serve(request, caller)

    def encode(self, body: bytes, provider: str, request: GatewayRequest) -> bytes:
        return add_gateway_fields(body, provider=provider, latency_ms=request.elapsed_ms())


class MessagesView(CallView):
    """POST /v1/messages, as Anthropic's."""

    wire_format = "anthropic_messages"

    @openapi.messages
    async def post(self, request: GatewayRequest, caller: Caller) -> HttpResponse | ServedResponse:
        return await self.serve(request, caller)


class ModelsView(GatewayView):
    """GET /v1/models: what this key may call."""

    @openapi.models
    async def get(self, request: GatewayRequest, caller: Caller) -> HttpResponse:
        services: Services = request.scope["state"]["services"]
        models = listings.callable_models(services.pipeline.catalogue, caller)
        if "HTTP_ANTHROPIC_VERSION" in request.META:
            return json_response(listings.anthropic_list(models))
        return json_response(listings.openai_list(models))


class ModelView(GatewayView):
    """GET /v1/models/{id}; the id may hold slashes and colons."""

    @openapi.model
    async def get(self, request: GatewayRequest, caller: Caller, model: str) -> HttpResponse:
        services: Services = request.scope["state"]["services"]
        for listed in listings.callable_models(services.pipeline.catalogue, caller):
            if listed.name == model:
                anthropic = "HTTP_ANTHROPIC_VERSION" in request.META
                shape = listings.anthropic_model if anthropic else listings.openai_model
                return json_response(shape(listed))
        raise ModelNotFoundError(f"There is no model {model[:200]} for this key.", param="model")


class UsageView(GatewayView):
    """GET /v1/usage: a day of the key's team, or of the key alone, or of one end user."""

    @openapi.usage
    async def get(self, request: GatewayRequest, caller: Caller) -> HttpResponse:
        usage = await ask_database(
            reports.usage_day,
            caller,
            request.GET.get("date"),
            scope=request.GET.get("scope", "team"),
            end_user=end_user_header(request),
            now=request.arrived_at,
        )
        return json_response(usage)


class RateLimitView(GatewayView):
    """GET /v1/rate-limit: every limit of this key, exact."""

    @openapi.rate_limit
    async def get(self, request: GatewayRequest, caller: Caller) -> HttpResponse:
        services: Services = request.scope["state"]["services"]
        limits = services.pipeline.books.limits
        states = await limits.state(caller, request.arrived_at, end_user_header(request))
        return json_response(listings.rate_limits(states))


class ReceiptView(GatewayView):
    """GET /v1/receipts/{request_id}, with any key of the team."""

    @openapi.receipt
    async def get(self, request: GatewayRequest, caller: Caller, request_id: str) -> HttpResponse:
        receipt = await ask_database(reports.receipt, caller, request_id)
        if receipt is None:
            raise ReceiptNotFoundError("This team has no such request (yet).")
        return json_response(receipt)


class RevokeView(GatewayView):
    """POST /v1/keys/revoke: ends the key that it is called with."""

    @openapi.revoke
    async def post(self, request: GatewayRequest, caller: Caller) -> HttpResponse:
        version = await ask_database(_revoke, caller.key_id, request.arrived_at)
        services: Services = request.scope["state"]["services"]
        services.keyring.forget_all(version)
        return json_response({"id": caller.key_id, "revoked": True})


def _revoke(key_id: int, now: datetime) -> int:
    revoke_key_by_id(key_id, now)
    return read_version()


async def healthz(request: HttpRequest) -> HttpResponse:
    return json_response({"status": "alive"})


async def readyz(request: GatewayRequest) -> HttpResponse:
    services: Services = request.scope["state"]["services"]
    readiness = services.readiness()
    if readiness.reason is not None:
        return json_response({"status": "not ready", "reason": readiness.reason}, status=503)
    if readiness.database_away:
        # Ready all the same: taken out of service, no worker would serve the keys it knows.
        return json_response({"status": "ready", "database": "unavailable"})
    return json_response({"status": "ready"})


def not_found(request: GatewayRequest, exception: Exception) -> HttpResponse:
    hint = "" if request.path.startswith("/v1/") else " The SDKs' base URL ends in /v1."
    error = RouteNotFoundError(f"There is no address {request.path[:200]}.{hint}")
    return error_response(error, request)


def unexpected(request: GatewayRequest) -> HttpResponse:
    return error_response(UnexpectedError("The gateway made a mistake."), request)
