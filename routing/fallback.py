"""Ask one target after the other until one serves: at most `max_attempts` in all.

A failed attempt is noted, costs what it cost, and cools its target where that helps. The same
target is asked again only when no other is left, after a short back-off that honours the
provider's own `Retry-After`. An error that another attempt cannot mend ends the search at once,
and so does one that cost so much that the caller's limits do not cover another attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from time import monotonic
from typing import TypeVar

from keys.errors import GatewayError, InvalidRequestError
from routing.catalogue import Target
from routing.errors import NoTargetAvailableError, UpstreamAuthError, UpstreamError
from routing.health import Health
from routing.running_call import RunningCall

Served = TypeVar("Served")

FIRST_BACK_OFF_SECONDS = 0.2
# A provider that wants a longer pause is left alone: the caller is told to come back.
LONGEST_PAUSE_SECONDS = 5.0


async def first_to_serve(
    running: RunningCall,
    candidates: Sequence[Target],
    max_attempts: int,
    attempt: Callable[[Target], Awaitable[Served]],
    *,
    health: Health,
    random: Random,
) -> Served:
    """The first success of `attempt`, over the candidates in their order and then again.

    Raises:
        UpstreamError: the last failure, when none served.
        InvalidRequestError: no target's words can say what is asked. HTTP 400.
        ServiceUnavailableError: another attempt cannot be written down. HTTP 503.
    """
    left = list(candidates)
    last: GatewayError | None = None
    for number in range(max_attempts):
        target = left[number % len(left)]
        if number >= len(candidates):
            pause = _pause(last, number - len(candidates), random)
            if pause is None:
                break
            await asyncio.sleep(pause)
        if health.cooling_for(target, monotonic()) > 0 and last is not None:
            continue
        began = monotonic()
        running.begin(target)
        try:
            return await attempt(target)
        except InvalidRequestError as error:
            # This target's words cannot say what is asked; another's may.
            last = last or error
            left.remove(target)
        except UpstreamError as error:
            last = error
            running.attempt_failed(target, error, began)
            health.failed(target, error, monotonic())
            if not error.may_retry:
                raise
            if isinstance(error, UpstreamAuthError):
                left.remove(target)
            if left and number + 1 < max_attempts and not await running.may_ask_again():
                raise
        if not left:
            break
    if last is None:
        raise NoTargetAvailableError("No provider of this model is available.")
    raise last


def _pause(error: GatewayError | None, again: int, random: Random) -> float | None:
    """Seconds before the same targets are asked again; None when that is too long to wait."""
    back_off = FIRST_BACK_OFF_SECONDS * 2**again * (0.5 + random.random())
    asked = error.retry_after_seconds if error else None
    pause = max(back_off, asked or 0)
    return pause if pause <= LONGEST_PAUSE_SECONDS else None
