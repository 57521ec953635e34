"""Idle shares of other workers: called back before a call is refused, given back when asked for.

What one worker idles on is room that another may need. Whoever lacks something raises the
counter's number of recalls; the other holders look for such numbers while they hold anything,
give back what idles, and write down which recall they have heard. So a refusal is never made for
the sake of units that nobody uses; it waits a second at most, for a holder may be paused.
"""

import asyncio
from collections.abc import Iterable

import structlog
from django.db import Error

from billing.allowances import Share
from billing.counters import CounterStore
from billing.refills import Refills
from billing.wallet import Wallet
from keys.errors import ServiceUnavailableError

LISTEN_SECONDS = 0.15
LONGEST_WAIT_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 0.2

log = structlog.get_logger(__name__)


class Recall:
    """How far one call is with calling units back."""

    def __init__(self) -> None:
        self._numbers: dict[Share, int] = {}
        self._pause = FIRST_PAUSE_SECONDS
        self._until = 0.0

    def may_help(self, share: Share) -> bool:
        """Whether units may still come back to a share's counter."""
        if not share.held_by_others:
            return False
        if share not in self._numbers:
            return not self._until or not self._is_late()
        return share.heard < self._numbers[share] and not self._is_late()

    def is_new(self, share: Share) -> bool:
        return share not in self._numbers

    def raised(self, shares: Iterable[Share]) -> None:
        """Note the recalls that were just raised, or joined: everybody's answers to them count."""
        self._until = self._until or asyncio.get_running_loop().time() + LONGEST_WAIT_SECONDS
        for share in shares:
            # Where all have answered, none was raised: what was granted sufficed at that moment.
            if share.heard < share.recalls:
                self._numbers.setdefault(share, share.recalls)

    def _is_late(self) -> bool:
        return asyncio.get_running_loop().time() >= self._until

    async def wait(self) -> None:
        """Wait a little for answers; the share must be asked for again after it."""
        await asyncio.sleep(self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)


class Listener:
    """Answers the recalls of other workers, as long as this one holds anything."""

    def __init__(self, store: CounterStore, wallet: Wallet, refills: Refills) -> None:
        self._store = store
        self._wallet = wallet
        self._refills = refills
        self._listening: asyncio.Task[None] | None = None

    def listen(self) -> None:
        """Start listening, unless it does already."""
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    def stop(self) -> None:
        if self._listening is not None:
            self._listening.cancel()

    async def _listen(self) -> None:
        while self._wallet.holds_something:
            try:
                await self._look()
            except (Error, ServiceUnavailableError) as error:
                # While the database is away nobody can call anything back either.
                log.info("recalls_not_heard", error=repr(error))
                self._refills.alone = False
            await asyncio.sleep(LISTEN_SECONDS)
        # Nobody looks from here on.
        self._refills.alone = False

    async def _look(self) -> None:
        seen = await self._store.recalled()
        self._refills.alone = seen.alone
        if seen.recalls:
            for counter_id in seen.recalls:
                self._wallet.recalled(counter_id)
            await self._refills.answer(seen.recalls)
