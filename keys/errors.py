"""The root of every error that a caller can meet, and the ones about who is calling.

Each room adds its own branches. What status, code and type an error leaves with is
decided in one table, `routing/error_table.py`; nothing here knows HTTP.
"""


class GatewayError(Exception):
    """An error that a caller is told about.

    Args:
        message: shown to the caller as it is; holds no secret, upstream host or traceback.
        param: the request field at fault, where there is one (`messages[0].role`).
        retry_after_seconds: when trying again can help; None when unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds


class InvalidKeyError(GatewayError):
    """No key, or one that is malformed, unknown, expired or revoked. HTTP 401."""


class AddressNotAllowedError(GatewayError):
    """The key may not be used from this address. HTTP 403 `ip_not_allowed`."""


class ModelNotAllowedError(GatewayError):
    """The key may not call this model. HTTP 403 `model_not_allowed`."""


class TooManyFailedKeysError(GatewayError):
    """An address tried too many bad keys. HTTP 429 `too_many_failed_keys`."""


class InvalidRequestError(GatewayError):
    """The request itself is wrong. HTTP 400 `invalid_request_error`, with `param`."""


class ServiceUnavailableError(GatewayError):
    """Our database, counters or disk are away; never the caller's fault. HTTP 503."""
