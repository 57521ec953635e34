"""Streams: opened before anything is said to the client, then passed on chunk by chunk.

Until the first bytes go out a failure may still be answered by another provider; after that it
ends in one error frame. The call is settled before its last bytes are sent, so that an answer
which a client has whole is always on the books, also when this process is killed right then.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from time import monotonic
from typing import cast

import structlog

from billing.models import UsageSource
from keys.errors import GatewayError
from routing.catalogue import Target
from routing.crossing import crossing_to
from routing.error_table import StreamKeyRevokedError, frame_of
from routing.errors import StreamBrokenError, UpstreamError, UpstreamFailingError
from routing.health import Health
from routing.running_call import RunningCall, milliseconds_since
from routing.settlement import Consumed
from routing.wire.bridge import StreamPipe

# The output so far is journaled this often, for the bill if this process dies.
PROGRESS_SECONDS = 1.0
PROGRESS_TOKENS = 16
# How long an abandoned stream is read on to its usage, where its provider says `drain`.
DRAIN_SECONDS = 60.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream whose first bytes for the client are here, and not yet sent."""

    target: Target
    began: float
    upstream: AbstractAsyncContextManager[AsyncIterator[bytes]]
    chunks: AsyncIterator[bytes]
    pipe: StreamPipe
    first: bytes


@dataclass(slots=True, eq=False)
class _Relay:
    """A stream that is being passed on, and the task that does it."""

    key_id: int
    task: asyncio.Task[None]
    ended_by: GatewayError | None = None


class Streams:
    """Opens and relays the streams of one process."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._draining: set[asyncio.Task[None]] = set()
        self._relaying: set[_Relay] = set()

    async def open(
        self, target: Target, running: RunningCall, max_tokens: int | None
    ) -> OpenStream:
        """Open a stream and read on to the first bytes that the client is to see."""
        began = monotonic()
        call = running.call
        upstream_format, crossing = crossing_to(target, call)
        body = crossing.request(call, model=target.upstream_model, max_output_tokens=max_tokens)
        pipe = crossing.stream(call, created=int(running.arrival.at.timestamp()))
        upstream = target.provider.stream(upstream_format, body, running.arrival.upstream_headers)
        chunks = await upstream.__aenter__()
        try:
            async for chunk in chunks:
                if first := pipe.feed(chunk):
                    return OpenStream(target, began, upstream, chunks, pipe, first)
            first = pipe.end()
        except UpstreamError as error:
            await upstream.__aexit__(*sys.exc_info())
            usage = error.usage or pipe.usage_so_far
            if isinstance(error, StreamBrokenError):
                # Nothing has been sent yet, so another provider may still serve.
                raise UpstreamFailingError(error.message, usage=usage) from error
            error.usage = usage
            raise
        except BaseException:
            await upstream.__aexit__(*sys.exc_info())
            raise
        return OpenStream(target, began, upstream, chunks, pipe, first)

    async def relay(self, opened: OpenStream, running: RunningCall) -> AsyncGenerator[bytes, None]:
        """Pass a stream on, and end its call before its last bytes go out."""
        pipe = opened.pipe
        progress = _Progress(running)
        here = _Relay(running.caller.key_id, cast("asyncio.Task[None]", asyncio.current_task()))
        self._relaying.add(here)
        try:
            if pipe.complete:
                await self._end_stream(opened, running)
            yield opened.first
            async for chunk in opened.chunks:
                out = pipe.feed(chunk)
                if pipe.complete:
                    await self._end_stream(opened, running)
                elif pipe.output_tokens_seen != progress.written:
                    progress.note(pipe.output_tokens_seen)
                if out:
                    yield out
                if pipe.failure is not None:
                    raise pipe.failure
            tail = pipe.end()
            await self._end_stream(opened, running)
            if tail:
                yield tail
        except UpstreamError as error:
            await self._end_broken(opened, running, error)
            yield frame_of(error, running.call.format, running.arrival.request_id)
        except asyncio.CancelledError:
            if here.ended_by is None:
                raise
            here.task.uncancel()
            running.end_broken(_consumed(opened, running), here.ended_by, opened.began)
            yield frame_of(here.ended_by, running.call.format, running.arrival.request_id)
        finally:
            self._relaying.discard(here)
            await self.close(opened, running)

    @property
    def reads_on(self) -> bool:
        """Whether abandoned streams are being read to their usage."""
        return bool(self._draining)

    def open_keys(self) -> set[int]:
        """The ids of the keys that have a stream open."""
        return {relay.key_id for relay in self._relaying}

    def end_all_of(self, key_ids: Collection[int]) -> None:
        """End the streams of keys that are no longer good, each with an error frame."""
        revoked = StreamKeyRevokedError("The API key was revoked while this stream was open.")
        for relay in self._relaying:
            if relay.key_id in key_ids:
                _end(relay, revoked)

    def end_all(self, error: GatewayError) -> set[asyncio.Task[None]]:
        """End every stream with an error frame, and what is only read on; the former's tasks."""
        for relay in self._relaying:
            _end(relay, error)
        for draining in self._draining:
            draining.cancel()
        return {relay.task for relay in self._relaying}

    async def close(self, opened: OpenStream, running: RunningCall) -> None:
        """Let go of a stream that nobody reads any more, as its provider wants it."""
        # Settle here: a reader who left must not keep tokens reserved.
        if not running.ended and opened.target.provider.on_disconnect == "drain":
            task = asyncio.create_task(self._drain(opened, running))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)
            return
        seen = _consumed(opened, running)
        running.end_abandoned(seen, opened.began)
        await opened.upstream.__aexit__(None, None, None)

    async def _drain(self, opened: OpenStream, running: RunningCall) -> None:
        """Read an abandoned stream on to its usage, bounded, then end its call."""
        running.client_left = True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for chunk in opened.chunks:
                    opened.pipe.feed(chunk)
        except (UpstreamError, TimeoutError) as error:
            log.info("drain_cut_short", request_id=running.arrival.request_id, error=repr(error))
        finally:
            running.end_abandoned(_consumed(opened, running), opened.began)
            await opened.upstream.__aexit__(None, None, None)

    async def _end_stream(self, opened: OpenStream, running: RunningCall) -> None:
        if not running.ended:
            latency_ms = milliseconds_since(opened.began)
            self._health.succeeded(opened.target, latency_ms, monotonic())
            running.end_served(_consumed(opened, running), opened.began)
            await running.until_counted()

    async def _end_broken(
        self, opened: OpenStream, running: RunningCall, error: UpstreamError
    ) -> None:
        self._health.failed(opened.target, error, monotonic())
        running.end_broken(_consumed(opened, running), error, opened.began)
        await running.until_counted()


def _end(relay: _Relay, error: GatewayError) -> None:
    if relay.ended_by is None:
        relay.ended_by = error
        relay.task.cancel()


class _Progress:
    """Journals how far a stream is, often enough that a crash bills it closely."""

    def __init__(self, running: RunningCall) -> None:
        self.running = running
        self.written = 0
        self.written_at = monotonic()

    def note(self, output_tokens: int) -> None:
        now = monotonic()
        if (
            output_tokens - self.written >= PROGRESS_TOKENS
            or now - self.written_at >= PROGRESS_SECONDS
        ):
            self.running.books.journal.progress(self.running.arrival.request_id, output_tokens)
            self.written, self.written_at = output_tokens, now


def _consumed(opened: OpenStream, running: RunningCall) -> Consumed:
    if opened.pipe.usage is None and opened.pipe.usage_so_far is not None:
        return Consumed(opened.target, opened.pipe.usage_so_far, UsageSource.ESTIMATED.value)
    return running.consumed(opened.target, opened.pipe)
