"""What a caller is told when a limit or a budget turns its call away."""

from keys.errors import GatewayError


class LimitExceededError(GatewayError):
    """A request, token or concurrency limit is reached. HTTP 429 `rate_limit_exceeded`."""


class BudgetExceededError(GatewayError):
    """A budget cannot pay for the call. HTTP 429 `insufficient_quota`.

    Args:
        retriable: only the holds of running calls stand in the way, so trying again soon can
            help; otherwise the answer carries `x-should-retry: false`.
    """

    def __init__(
        self, message: str, *, retriable: bool, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.retriable = retriable
