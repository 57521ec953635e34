"""One gateway process, composed: key ring, limits, journal, ledger writer, snapshots, pipeline.

Started and stopped by the ASGI lifespan. While it runs it watches the configuration's version:
an edit anywhere is live here within a second. A snapshot that cannot be loaded is logged and the
last good one is kept.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import TypeVar

import structlog
from django.conf import settings
from django.db import DatabaseError, connection

from billing.counters import CounterStore
from billing.journal import Journal
from billing.ledger_writer import LedgerWriter
from billing.limits import Limits, LimitsSnapshot, load_limits
from billing.price_book import PriceBook, load_price_book
from billing.recovery import recover_leftovers
from billing.refusals import RefusalWriter
from billing.workers import new_name, register, retire
from keys.authentication import KeyRing, still_good
from keys.versions import read_version
from routing.catalogue import Catalogue, CatalogueLoader
from routing.gateway_api.services import Services
from routing.health import Health
from routing.pipeline import Pipeline
from routing.running_call import Books

WATCH_SECONDS = 0.25
TIDY_SECONDS = 1.0
DRAIN_LEDGER_SECONDS = 30.0

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

    def __init__(self) -> None:
        # One thread, and so one database connection, for what the event loop must not wait for.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="configuration")
        self._catalogues = CatalogueLoader()
        self._watching: asyncio.Task[None] | None = None
        self._not_ready: str | None = "starting"

    async def start(self) -> Services:
        now = datetime.now(UTC)
        await self._in_thread(lambda: recover_leftovers(settings.JOURNAL_DIR))
        self._worker_id, self._journal = await self._in_thread(lambda: _enlist(now))
        configuration = await self._in_thread(self._load)
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
        self._watching = asyncio.create_task(self._watch())
        self._not_ready = None
        return Services(self._keyring, self._pipeline, self._refusals.put, lambda: self._not_ready)

    async def stop(self) -> None:
        """After the last request has ended: post what is left, give back what is held."""
        self._not_ready = "stopping"
        if self._watching:
            self._watching.cancel()
        drained = await asyncio.to_thread(self._writer.drain, DRAIN_LEDGER_SECONDS)
        self._refusals.stop()
        await self._limits.close()
        self._keyring.close()
        await self._catalogues.close()
        self._journal.close()
        if drained:
            await self._in_thread(lambda: retire(self._worker_id))
        self._thread.shutdown()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        tidied = loop.time()
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            try:
                version = await self._in_thread(read_version)
                if version != self._version:
                    self._swap(await self._in_thread(self._load))
                    await self._end_streams_of_revoked_keys()
                    await self._catalogues.close_replaced()
                self._not_ready = None
            except DatabaseError as error:
                self._not_ready = "the database is not available"
                log.warning("configuration_not_read", error=repr(error))
            except Exception:
                # A snapshot that does not load must not take the last good one with it.
                log.exception("configuration_refused")
            if loop.time() - tidied >= TIDY_SECONDS:
                tidied = loop.time()
                await self._limits.tidy(datetime.now(UTC))

    async def _end_streams_of_revoked_keys(self) -> None:
        streams = self._pipeline.streams
        if open_keys := streams.open_keys():
            good = await self._in_thread(lambda: still_good(open_keys))
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

    async def _in_thread(self, function: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, _with_fresh_connection, function
        )


def _with_fresh_connection(function: Callable[[], Result]) -> Result:
    try:
        return function()
    except DatabaseError:
        # A broken connection is never used again.
        connection.close()
        raise


def _enlist(now: datetime) -> tuple[int, Journal]:
    """The journal before the row: a row without a journal counts as a dead worker's."""
    journal = Journal(settings.JOURNAL_DIR, new_name())
    return register(journal, now), journal
