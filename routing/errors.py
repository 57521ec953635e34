"""What can go wrong between choosing a provider and the end of its answer.

No message names an upstream host, a credential or a traceback: these leave through
`routing/error_table.py` as they are.
"""

from billing.usage import Usage
from keys.errors import GatewayError


class ModelNotFoundError(GatewayError):
    """No such model for this gateway. HTTP 404 `model_not_found`."""


class ModelNotPricedError(GatewayError):
    """A caller with a usd limit asked for a model whose price is unknown. HTTP 403."""


class NoTargetAvailableError(GatewayError):
    """Every target of the model is cooling or switched off. HTTP 503 `no_target_available`."""


class UpstreamError(GatewayError):
    """An upstream attempt failed.

    Attributes:
        may_retry: another attempt, here or elsewhere, can help.
        usage: what the provider reported in its error answer; charged too.
        maybe_billed: the provider may have worked without telling us (a time-out).
    """

    may_retry = True
    maybe_billed = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, param=param, retry_after_seconds=retry_after_seconds)
        self.usage = usage


class UpstreamRefusedRequestError(UpstreamError):
    """The provider refused the request itself (400, 404, 413, 422). Its own status and message.

    Attributes:
        status: the provider's.
        type, code: as the provider said them, in its own vocabulary; may be None.
    """

    may_retry = False

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,
        code: str | None = None,
        param: str | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message, param=param, usage=usage)
        self.status = status
        self.type = type
        self.code = code


class UpstreamAuthError(UpstreamError):
    """The provider refused our credential or account (401, 402, 403). HTTP 502."""


class UpstreamUnreachableError(UpstreamError):
    """No connection: refused, reset, DNS, TLS, or an address we may not call. HTTP 502."""


class UpstreamFailingError(UpstreamError):
    """The provider answered with a server error. HTTP 502 `upstream_error`."""


class UpstreamProtocolError(UpstreamError):
    """The provider's answer is not what its API promises. HTTP 502."""


class UpstreamRateLimitedError(UpstreamError):
    """The provider is limiting us (429). HTTP 429 `upstream_rate_limited`."""


class UpstreamOverloadedError(UpstreamError):
    """The provider is overloaded (503, 529). HTTP 503 `upstream_overloaded`."""


class UpstreamTimeoutError(UpstreamError):
    """No answer in time. HTTP 504 `upstream_timeout`."""

    maybe_billed = True


class StreamBrokenError(UpstreamError):
    """A stream broke, stalled, or ended without a finish after its first byte."""

    may_retry = False
