"""Exchanges between a worker's memory and the counters, one at a time.

Whoever lacks something joins the next exchange; it asks for all of them in one transaction, and
gives back in the same one what memory has given up. So a share never has two refills under way,
and five hundred calls that arrive together cost one transaction. A database that hangs holds up
the exchange, and nobody who waits for it for long.
"""

import asyncio
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import structlog
from django.db import Error, OperationalError

from billing.allowances import Share
from billing.chunks import Need
from billing.counter_opening import CounterKey
from billing.counters import Answer, CounterStore, Give, Reading, Take, UnknownOutcomeError
from billing.wallet import HIGH_WATER_SECONDS, Wallet
from keys.errors import ServiceUnavailableError

log = structlog.get_logger(__name__)

RETRY_AFTER_SECONDS = 1.0
# SQLite may wait that long for another writer; a database that takes longer is away.
LONGEST_EXCHANGE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a call lacks of one share.

    Attributes:
        least: what the share must hold for the call to go on.
        full: what the call would like it to hold.
        recall: whether other workers shall give back what they idle on, where it is lacking.
        exact: whether they shall do so in any case, for one who asks how much is left.
        ahead: whether more than that may be taken, for calls to come.
    """

    share: Share
    least: int
    full: int
    recall: bool = False
    exact: bool = False
    ahead: bool = True


@dataclass(slots=True)
class _Round:
    """What is asked for together; each of `calls` is to be given all that it asks for or none."""

    done: asyncio.Future[None]
    calls: list[tuple[Ask, ...]] = field(default_factory=list)
    error: Exception | None = field(default_factory=lambda: RuntimeError("not answered"))


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One transaction's worth: the shares that take, in order, and what goes back."""

    operation: int
    takers: Sequence[Share]
    givers: dict[Share, int]
    excess_posted: dict[Share, int]
    edits: dict[Share, int]

    def shares(self) -> set[Share]:
        return {*self.takers, *self.givers}


class Refills:
    """The exchanges of one worker.

    Attributes:
        alone: no other worker was registered at the last look.
        gone: limits that were found deleted.
    """

    def __init__(self, store: CounterStore, wallet: Wallet) -> None:
        self._store = store
        self._wallet = wallet
        self._next: _Round | None = None
        self._running: asyncio.Task[None] | None = None
        self._doubt: tuple[_Exchange, list[Reading | None]] | None = None
        self._overdue = False
        self.alone = False
        self._answers: dict[int, int] = {}
        self.gone: set[int] = set()

    @property
    def in_doubt(self) -> bool:
        return self._doubt is not None

    async def ask(self, asks: Iterable[Ask]) -> None:
        """Wait for one exchange that asks for all of these or none, and gives back what is leaving.

        What is then in the shares is for whoever comes first; their readings are fresh.

        Raises:
            ServiceUnavailableError: the database is away, or hangs. HTTP 503.
        """
        if self._overdue:
            raise counters_away()
        joined = self._join(asks)
        await asyncio.wait((joined.done,), timeout=LONGEST_EXCHANGE_SECONDS)
        if not joined.done.done():
            # It goes on by itself; what it will bring is applied whenever it ends.
            self._overdue = True
            raise counters_away()
        if joined.error is not None:
            raise counters_away() from joined.error

    async def answer(self, recalls: Mapping[int, int]) -> None:
        """Give back what is leaving, and say that these recalls, by counter, were heard.

        The counters are read anew: calls that hold more than a new limit allows may be why.
        """
        self._answers.update(recalls)
        shares = filter(None, map(self._wallet.of_counter, recalls))
        await self.ask([Ask(share, 0, 0, ahead=False) for share in shares])

    def _join(self, asks: Iterable[Ask]) -> _Round:
        loop = asyncio.get_running_loop()
        joined = self._next = self._next or _Round(loop.create_future())
        joined.calls.append(tuple(asks))
        for ask in joined.calls[-1]:
            ask.share.awaited += 1
        if self._running is None or self._running.done():
            self._running = loop.create_task(self._run())
        return joined

    async def _run(self) -> None:
        while self._next is not None:
            current, self._next = self._next, None
            try:
                await self._serve(current)
                current.error = None
            except Error as error:
                log.warning("counters_unavailable", error=repr(error))
                current.error = error
            except Exception as error:
                # Whatever it was, those who wait for the next exchange must not wait for ever.
                log.exception("counters_failed")
                current.error = error
            finally:
                self._overdue = False
                for ask in chain.from_iterable(current.calls):
                    ask.share.awaited -= 1
                current.done.set_result(None)

    async def _serve(self, current: _Round) -> None:
        await self._settle_doubt()
        asks: dict[Share, list[tuple[int, Ask]]] = {}
        for number, call in enumerate(current.calls):
            for ask in call:
                asks.setdefault(ask.share, []).append((number, ask))
        exchange = _Exchange(
            operation=secrets.randbits(62) + 1,
            takers=tuple(asks),
            givers={share: share.leaving for share in self._wallet.leaving()},
            excess_posted={share: share.excess_posted for share in asks},
            edits={share: share.edits for share in asks},
        )
        answers, self._answers = self._answers, {}
        # What was freed or granted since is not given back, and runs for nobody: the next look
        # finds the recall unanswered still.
        answers = {i: recall for i, recall in answers.items() if not self._idles_on(i)}
        if not exchange.takers and not exchange.givers and not answers:
            return
        tidyings = self._wallet.tidyings
        takes = [_take(share, asked, tidyings) for share, asked in asks.items()]
        gives = [Give(share.counter_id, amount) for share, amount in exchange.givers.items()]
        heard = [Answer(i, recall, self._running_at(i)) for i, recall in sorted(answers.items())]
        try:
            readings = await self._store.exchange(exchange.operation, takes, gives, heard)
        except UnknownOutcomeError as unknown:
            self._doubt = exchange, unknown.readings
            for share in exchange.shares():
                share.awaited += 1
            if not await self._settle_doubt():
                raise OperationalError("The exchange was rolled back.") from unknown
        except Error:
            _take_back(exchange)
            raise
        else:
            self._apply(exchange, readings)

    def _idles_on(self, counter_id: int) -> bool:
        share = self._wallet.of_counter(counter_id)
        return share is not None and share.idle > 0

    def _running_at(self, counter_id: int) -> int:
        share = self._wallet.of_counter(counter_id)
        return 0 if share is None else share.reserved

    async def _settle_doubt(self) -> bool:
        """Find out about an exchange of unknown outcome before anything else is believed."""
        if self._doubt is None:
            return True
        exchange, readings = self._doubt
        committed = await self._store.was_committed(
            exchange.operation,
            {share.slot.rule.id for share in exchange.takers},
            {share.counter_id for share in exchange.shares()}
            | {reading.counter_id for reading in readings if reading},
        )
        self._doubt = None
        for share in exchange.shares():
            share.awaited -= 1
        if committed:
            self._apply(exchange, readings)
        else:
            _take_back(exchange)
        return committed

    def _apply(self, exchange: _Exchange, readings: Sequence[Reading | None]) -> None:
        for share, amount in exchange.givers.items():
            share.leaving -= amount
        for share, reading in zip(exchange.takers, readings, strict=True):
            if reading is not None:
                self._wallet.counter_known(share, reading.counter_id)
                share.idle += reading.granted
                share.taken = reading.taken
                if share.edits == exchange.edits[share]:
                    share.ceiling = reading.ceiling
                share.held_by_others = reading.held_by_others
                share.running_elsewhere = reading.running_elsewhere
                if reading.recalls > share.recalls:
                    share.tight_at = self._wallet.tidyings
                share.recalls, share.heard = reading.recalls, reading.heard
                self.alone = reading.alone
                share.excess -= exchange.excess_posted[share]
                share.excess_posted -= exchange.excess_posted[share]
                share.edits_read = exchange.edits[share]
                # Also what was granted under a ceiling that an edit has changed since.
                share.give_up_surplus()
            elif share.counter_id:
                # The counter went; asked for by what it is of, it may be made anew.
                share.counter_id = share.idle = 0
            else:
                self.gone.add(share.slot.rule.id)


def counters_away() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "The counters of limits are not available.", retry_after_seconds=RETRY_AFTER_SECONDS
    )


def _take(share: Share, asked: Sequence[tuple[int, Ask]], tidyings: int) -> Take:
    """Args:
    asked: what is asked for of this share, each with the number of its call.
    """
    idle = max(0, share.idle)
    lacking = max(0, sum(ask.full for _, ask in asked) - idle)
    may_go_ahead = all(ask.ahead for _, ask in asked)
    ahead = share.ahead(HIGH_WATER_SECONDS, tidyings, lacking) if may_go_ahead else 0
    return Take(
        key=CounterKey(share.slot.rule.id, share.slot.subject, share.start, share.period_end),
        counter_id=share.counter_id,
        needs=tuple(Need(number, ask.least, ask.full, ask.recall) for number, ask in asked),
        idle=idle,
        ahead=max(0, ahead - lacking),
        running=share.overdraft,
        owed=share.excess - share.excess_posted,
        exact=any(ask.exact for _, ask in asked),
    )


def _take_back(exchange: _Exchange) -> None:
    """Nothing was given back after all."""
    for share, amount in exchange.givers.items():
        share.leaving -= amount
        share.idle += amount
