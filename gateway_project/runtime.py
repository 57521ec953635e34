"""One gateway process, composed: key ring, limits, journal, ledger writer, snapshots, pipeline.

Started and stopped by the ASGI lifespan. While it runs it watches the configuration's version:
an edit anywhere is live here within a second. A snapshot that cannot be loaded is logged and the
last good one is kept. A database that is away or frozen holds up none of it: whatever asks it
does so in a thread that is waited for only so long. One that is away while we start is waited for.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random
from time import monotonic
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from billing.counters import CounterStore
from billing.journal import Journal
from billing.lapses import Lookout
from billing.ledger_writer import LedgerWriter
from billing.limits import Limits, LimitsSnapshot, load_limits
from billing.price_book import PriceBook, load_price_book
from billing.recovery import recover_leftovers
from billing.refusals import RefusalWriter
from billing.workers import is_registered, new_name, register, retire
from keys.authentication import KeyRing, still_good
from keys.bounded_thread import BoundedThread
from keys.clock import DatabaseClock
from keys.errors import ServiceUnavailableError
from keys.versions import Moment, read_moment, read_version
from routing.catalogue import Catalogue, CatalogueLoader
from routing.gateway_api.services import Readiness, Services
from routing.health import Health
from routing.pipeline import Pipeline
from routing.running_call import Books

WATCH_SECONDS = 0.25
TIDY_SECONDS = 1.0
RECOVERY_SECONDS = 5.0
# How long the database may take for the version, for the configuration, and while we start.
_POLL_SECONDS = 2.0
_LOAD_SECONDS = 30.0
_START_SECONDS = 300.0
_SHORTEST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
# At the end: what a frozen database does not take in time is recovered from the journal.
_LAST_LEDGER_ROWS_SECONDS = 10.0
_GIVE_BACK_SECONDS = 2.0
# A machine whose clock is wrong by more writes logs and expiries that mislead.
_CLOCK_OFF_SECONDS = 5.0

Result = TypeVar("Result")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything an administrator can edit, as of one version."""

    version: int
    catalogue: Catalogue
    prices: PriceBook
    limits: LimitsSnapshot


class Runtime:
    """Everything a gateway process owns, from start to stop."""

    def __init__(self, clock: DatabaseClock) -> None:
        self._thread = BoundedThread("configuration")
        self._recovery = BoundedThread("recovery")
        self._clock = clock
        self._catalogues = CatalogueLoader()
        self._tasks: list[asyncio.Task[None]] = []
        self._not_ready: str | None = "starting"
        self._database_away = False
        self._journal_in_place = True
        self._journal_admits = True

    async def start(self) -> Services:
        """Waits for a database that is away: it may start later than we do.

        Raises:
            TimeoutError: the database is there and does not answer.
        """
        await self._when_there(partial(self._read_moment, _START_SECONDS))
        await self._ask_when_there(partial(recover_leftovers, settings.JOURNAL_DIR))
        # The journal before the row: a row without a journal counts as a dead worker's.
        self._journal = Journal(settings.JOURNAL_DIR, new_name())
        enlist = partial(register, self._journal, self._clock.now())
        self._worker_id = await self._ask_when_there(enlist)
        configuration = await self._ask_when_there(self._load)
        self._version = configuration.version
        self._keyring = KeyRing()
        self._limits = Limits(CounterStore(self._worker_id))
        self._limits.replace(configuration.limits)
        loop = asyncio.get_running_loop()
        self._writer = LedgerWriter(
            self._journal,
            lambda charges: loop.call_soon_threadsafe(self._limits.posted, charges),
            worker_id=self._worker_id,
        )
        self._writer.start()
        self._refusals = RefusalWriter()
        self._refusals.start()
        books = Books(self._limits, self._journal, self._writer.put)
        random = Random()  # noqa: S311 - spreads load; guards no secret
        self._pipeline = Pipeline(
            configuration.catalogue, configuration.prices, books, Health(), random
        )
        repeated = (self._watch(), self._tidy(), self._recover())
        self._tasks = [asyncio.create_task(each) for each in repeated]
        self._not_ready = None
        return Services(
            self._keyring, self._pipeline, self._refusals.put, self._readiness, self._clock.now
        )

    def begin_drain(self) -> None:
        """Open calls go on; no more should be sent here."""
        self._not_ready = "stopping"

    @property
    def reads_on(self) -> bool:
        """Whether calls whose clients have left are being read to their usage."""
        return self._pipeline.reads_on

    def end_streams(self) -> set[asyncio.Task[None]]:
        """End every open stream with an error frame; the requests that carry them."""
        stopping = ServiceUnavailableError("The gateway is stopping. Try again.")
        return self._pipeline.streams.end_all(stopping)

    async def stop(self) -> None:
        """After the last request has ended: post what is left, give back what is held."""
        self.begin_drain()
        for task in self._tasks:
            task.cancel()
        drained = await asyncio.to_thread(self._writer.drain, _LAST_LEDGER_ROWS_SECONDS)
        await asyncio.to_thread(self._refusals.stop, _GIVE_BACK_SECONDS)
        try:
            await asyncio.wait_for(self._limits.close(), _GIVE_BACK_SECONDS)
        except TimeoutError:
            log.warning("holdings_left_behind")
        self._keyring.close()
        await self._catalogues.close()
        self._journal.close()
        if drained:
            await self._retire()
        self._thread.close(connection.close)
        self._recovery.close(connection.close)

    async def _retire(self) -> None:
        try:
            await self._ask(lambda: retire(self._worker_id), _GIVE_BACK_SECONDS)
        except (Error, TimeoutError) as error:
            # The next recovery finds a row without a journal.
            log.warning("worker_not_retired", error=repr(error))

    def _readiness(self) -> Readiness:
        reason = self._not_ready
        if reason is None and self._clock.machine_is_off_by() > _CLOCK_OFF_SECONDS:
            reason = "this machine's clock is not the database's"
        if reason is None and not self._journal_in_place:
            reason = "the journal was removed and cannot be made anew"
        if reason is None and not self._journal_admits:
            reason = "calls cannot be written down: the disk is full, or it fails"
        return Readiness(reason, self._database_away)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                moment = await self._read_moment(_POLL_SECONDS)
                if moment.version != self._version:
                    await self._take_edits()
            except (Error, TimeoutError) as error:
                if not self._database_away:
                    log.warning("database_away", error=repr(error))
                self._database_away = True
                continue
            except Exception:
                # A snapshot that does not load must not take the last good one with it.
                log.exception("configuration_refused")
            if self._database_away:
                log.warning("database_back")
            self._database_away = False

    async def _take_edits(self) -> None:
        self._swap(await self._ask(self._load, _LOAD_SECONDS))
        await self._limits.count_running()
        await self._end_streams_of_revoked_keys()
        await self._catalogues.close_replaced()

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            self._journal_in_place = self._journal.keep_in_place()
            self._journal_admits = self._journal.admits()
            try:
                await self._limits.tidy(self._clock.now())
            except Exception:
                # Whatever it was, shares must go on being given back.
                log.exception("limits_not_tidied")

    async def _recover(self) -> None:
        """What another worker of this machine left when it was killed is posted soon; what one
        of another machine holds lapses when it is not seen for long."""
        lookout = Lookout()
        while True:
            await asyncio.sleep(RECOVERY_SECONDS)
            if not self._journal.keep_in_place():
                continue  # A row without a journal is a dead worker's: it would be our own.
            now = self._clock.now()
            recover = partial(_recover_others, self._worker_id, self._journal, lookout, now)
            try:
                if not await self._recovery.run(
                    partial(_with_fresh_connection, recover), _LOAD_SECONDS
                ):
                    self._leave()
                    return
            except (Error, TimeoutError) as error:
                log.info("leftovers_not_recovered", error=repr(error))
            except Exception:
                log.exception("leftovers_not_recovered")

    def _leave(self) -> None:
        """Somebody took this process for dead, or the database is an older one: what it holds has
        been given back, and admits nothing more. The supervisor starts another."""
        log.error("worker_unknown_to_database", worker=self._journal.worker)
        self._journal.seal()
        signal.raise_signal(signal.SIGTERM)

    async def _end_streams_of_revoked_keys(self) -> None:
        streams = self._pipeline.streams
        if open_keys := streams.open_keys():
            good = await self._ask(lambda: still_good(open_keys), _LOAD_SECONDS)
            streams.end_all_of(open_keys - good)

    def _swap(self, configuration: Configuration) -> None:
        self._version = configuration.version
        self._keyring.forget_all(configuration.version)
        self._pipeline.catalogue = configuration.catalogue
        self._pipeline.prices = configuration.prices
        self._limits.replace(configuration.limits)

    def _load(self) -> Configuration:
        # The version first: an edit during the load is then seen as a newer one.
        return Configuration(
            version=read_version(),
            catalogue=self._catalogues.load(),
            prices=load_price_book(),
            limits=load_limits(),
        )

    async def _read_moment(self, seconds: float) -> Moment:
        asked_at = monotonic()
        moment = await self._ask(read_moment, seconds)
        self._clock.hear(moment.time, asked_at)
        return moment

    async def _ask_when_there(self, function: Callable[[], Result]) -> Result:
        return await self._when_there(partial(self._ask, function, _START_SECONDS))

    async def _when_there(self, asked: Callable[[], Awaitable[Result]]) -> Result:
        pause = _SHORTEST_PAUSE_SECONDS
        while True:
            try:
                return await asked()
            except (OperationalError, InterfaceError) as error:
                reason = str(error).strip().partition("\n")[0]
                log.warning("waiting_for_database", error=reason)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)

    async def _ask(self, function: Callable[[], Result], seconds: float) -> Result:
        return await self._thread.run(partial(_with_fresh_connection, function), seconds)


def _with_fresh_connection(function: Callable[[], Result]) -> Result:
    try:
        return function()
    except Error:
        # A broken connection is never used again.
        connection.close()
        raise


def _recover_others(worker_id: int, journal: Journal, lookout: Lookout, now: datetime) -> bool:
    """Finish what dead workers left, unless we count as one ourselves: then False."""
    if not is_registered(worker_id, journal, now):
        return False
    lookout.look(journal.directory, now)
    recover_leftovers(journal.directory)
    return True
