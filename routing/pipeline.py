"""THE HOT PATH: choose → reserve → write down → ask (with fallback) → settle → record.

Decoding and the key come before it and encoding after it, in `gateway_api/views.py`. In the
common case nothing here leaves the process but the call to the provider: no ORM, no Redis, no
thread hop, no file sync.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from random import Random
from time import monotonic
from typing import TypeVar

import structlog

from billing.estimate import Estimate
from billing.models import UsageSource
from billing.price_book import PriceBook
from billing.pricing import Price
from keys.caller import Caller
from keys.errors import GatewayError, ModelNotAllowedError
from routing.catalogue import Catalogue, Route, Target
from routing.error_table import frame_of
from routing.errors import (
    ModelNotFoundError,
    ModelNotPricedError,
    StreamBrokenError,
    UpstreamError,
    UpstreamFailingError,
)
from routing.fallback import first_to_serve
from routing.health import Health
from routing.running_call import Arrival, Books, RunningCall, milliseconds_since
from routing.selection import candidates
from routing.settlement import Consumed
from routing.wire.bridges import BridgedAnswer, StreamPipe, bridge
from routing.wire.call import CallRequest

Attempted = TypeVar("Attempted")
log = structlog.get_logger(__name__)

# What a call without max_tokens is given where limits need a bound and the model names none.
DEFAULT_OUTPUT_TOKENS = 4096
# A stream's output so far is journaled this often, for the bill if this process dies.
PROGRESS_SECONDS = 1.0
PROGRESS_TOKENS = 64
# How long an abandoned stream is read on to its usage, where its provider says `drain`.
DRAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Served:
    """What a response says about the attempt that served it.

    Attributes:
        attempts: upstream attempts in all, the serving one included.
        max_tokens_set: what the gateway set because the caller sent none; None where it did not.
    """

    target: Target
    running: RunningCall
    attempts: int
    max_tokens_set: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    served: Served
    body: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream whose first bytes have come; closing `parts` ends the call whatever happened."""

    served: Served
    parts: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class _Plan:
    route: Route
    targets: list[Target]
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class _Admitted:
    """An admitted call, and the max_tokens that its target is to be sent (None: the caller's)."""

    running: RunningCall
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class _OpenStream:
    target: Target
    began: float
    upstream: AbstractAsyncContextManager[AsyncIterator[bytes]]
    chunks: AsyncIterator[bytes]
    pipe: StreamPipe
    first: bytes


class Pipeline:
    """One per process. `catalogue` and `prices` are snapshots, replaced whole by the runtime."""

    def __init__(
        self, catalogue: Catalogue, prices: PriceBook, books: Books, health: Health, random: Random
    ) -> None:
        self.catalogue = catalogue
        self.prices = prices
        self.books = books
        self.health = health
        self.random = random
        self._detached: set[asyncio.Task[object]] = set()

    async def answer(self, caller: Caller, call: CallRequest, arrival: Arrival) -> Answer:
        """The whole answer of a call that is not streamed."""
        plan = self._plan(caller, call, arrival)
        admitted = await self._admit(plan, caller, call, arrival)

        async def attempt(target: Target) -> Answer:
            return await self._ask(target, admitted)

        asking = self._serve(plan, admitted, attempt)
        if not any(target.provider.on_disconnect == "drain" for target in plan.targets):
            return await asking
        task = asyncio.create_task(asking)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # The client left, the provider bills the whole answer: the task reads its usage.
            admitted.running.client_left = True
            raise

    async def stream(self, caller: Caller, call: CallRequest, arrival: Arrival) -> Stream:
        """A stream, opened: no error from here on can be answered by another provider."""
        plan = self._plan(caller, call, arrival)
        admitted = await self._admit(plan, caller, call, arrival)

        async def attempt(target: Target) -> _OpenStream:
            return await self._open(target, admitted)

        opened = await self._serve(plan, admitted, attempt)
        running = admitted.running
        running.first_byte_ms = milliseconds_since(arrival.monotonic)
        served = Served(opened.target, running, len(running.attempts) + 1, admitted.max_tokens)
        return Stream(served, self._relay(opened, running))

    def _plan(self, caller: Caller, call: CallRequest, arrival: Arrival) -> _Plan:
        """Where a call may go, in order, and the most it can cost there.

        Raises:
            ModelNotAllowedError, ModelNotFoundError, ModelNotPricedError, NoTargetAvailableError.
        """
        if not caller.may_call(call.model):
            raise ModelNotAllowedError(f"This key may not call the model {call.model}.")
        route = self.catalogue.find(call.model)
        if route is None:
            raise ModelNotFoundError(f"There is no model {call.model}.", param="model")
        targets = candidates(
            self.catalogue,
            route,
            provider=call.provider,
            health=self.health,
            price_of=lambda target: _rank(self._price(target, arrival)),
            monotonic=arrival.monotonic,
            random=self.random,
        )
        prices = [self._price(target, arrival) for target in targets]
        if None in prices and self.books.limits.has_usd_limit(caller):
            targets = [t for t, price in zip(targets, prices, strict=True) if price is not None]
            if not targets:
                raise ModelNotPricedError(
                    f"The price of {call.model} is not known, and this key has a budget."
                )
        each = call.max_output_tokens or route.max_output_tokens or DEFAULT_OUTPUT_TOKENS
        estimate = Estimate(
            input_tokens=call.input_token_bound,
            output_tokens=each * call.choices,
            prices=tuple(price for price in prices if price is not None),
            choices=call.choices,
            adjustable=call.max_output_tokens is None,
        )
        return _Plan(route, targets, estimate)

    async def _admit(
        self, plan: _Plan, caller: Caller, call: CallRequest, arrival: Arrival
    ) -> _Admitted:
        """Reserve the bound of a call, then write its admission down."""
        limits, estimate = self.books.limits, plan.estimate
        reservation = limits.reserve_at_once(caller, estimate, arrival.end_user, arrival.at)
        if reservation is None:
            reservation = await limits.reserve(caller, estimate, arrival.end_user, arrival.at)
        running = RunningCall(caller, call, arrival, reservation, self.books, self.prices)
        try:
            running.admit(plan.targets[0])
        except GatewayError:
            limits.void(reservation)
            raise
        if estimate.adjustable and limits.has_hard_token_or_usd_limit(caller):
            return _Admitted(running, reservation.output_tokens // call.choices)
        return _Admitted(running, None)

    async def _serve(
        self,
        plan: _Plan,
        admitted: _Admitted,
        attempt: Callable[[Target], Awaitable[Attempted]],
    ) -> Attempted:
        """Ask target after target; an admitted call that none serves ends here."""
        running = admitted.running
        try:
            return await first_to_serve(
                running,
                plan.targets,
                plan.route.max_attempts,
                attempt,
                health=self.health,
                random=self.random,
            )
        except GatewayError as error:
            running.end_failed(error)
            raise
        except BaseException:
            # The client left between two attempts, or a bug: nothing may stay reserved.
            running.end_abandoned(Consumed(None), monotonic())
            raise

    async def _ask(self, target: Target, admitted: _Admitted) -> Answer:
        running, began = admitted.running, monotonic()
        call, upstream_format = running.call, _format_for(target, running.call)
        crossing = bridge(call.format, upstream_format)
        body = crossing.request(
            call, model=target.upstream_model, max_output_tokens=admitted.max_tokens
        )
        try:
            raw = await target.provider.ask(
                upstream_format, body, running.arrival.upstream_headers
            )
        except asyncio.CancelledError:
            running.end_abandoned(self._estimated(target, running, 0), began)
            raise
        answer = crossing.answer(raw, call)
        self.health.succeeded(target, milliseconds_since(began), monotonic())
        running.end_served(self._consumed(target, running, answer), began)
        served = Served(target, running, len(running.attempts), admitted.max_tokens)
        return Answer(served, answer.body)

    async def _open(self, target: Target, admitted: _Admitted) -> _OpenStream:
        """Open a stream and read on to the first bytes that the client is to see."""
        running, began = admitted.running, monotonic()
        call, upstream_format = running.call, _format_for(target, running.call)
        crossing = bridge(call.format, upstream_format)
        body = crossing.request(
            call, model=target.upstream_model, max_output_tokens=admitted.max_tokens
        )
        pipe = crossing.stream(call)
        upstream = target.provider.stream(
            upstream_format, body, running.arrival.upstream_headers
        )
        chunks = await upstream.__aenter__()
        try:
            async for chunk in chunks:
                if first := pipe.feed(chunk):
                    return _OpenStream(target, began, upstream, chunks, pipe, first)
            first = pipe.end()
        except StreamBrokenError as error:
            # Nothing has been sent yet, so another provider may still serve.
            await upstream.__aexit__(*sys.exc_info())
            raise UpstreamFailingError(error.message, usage=pipe.usage) from error
        except BaseException:
            await upstream.__aexit__(*sys.exc_info())
            raise
        return _OpenStream(target, began, upstream, chunks, pipe, first)

    async def _relay(
        self, opened: _OpenStream, running: RunningCall
    ) -> AsyncGenerator[bytes, None]:
        """Pass a stream on, and end its call before its last bytes go out."""
        pipe = opened.pipe
        progress = _Progress(running)
        try:
            if pipe.complete:
                self._end_stream(opened, running)
            yield opened.first
            async for chunk in opened.chunks:
                out = pipe.feed(chunk)
                if pipe.complete:
                    self._end_stream(opened, running)
                elif pipe.output_tokens_seen != progress.written:
                    progress.note(pipe.output_tokens_seen)
                if out:
                    yield out
            tail = pipe.end()
            self._end_stream(opened, running)
            if tail:
                yield tail
        except UpstreamError as error:
            self._end_broken(opened, running, error)
            yield frame_of(error, running.call.format, running.arrival.request_id)
        finally:
            await self._close(opened, running)

    async def _close(self, opened: _OpenStream, running: RunningCall) -> None:
        # Settle here: a reader who left must not keep tokens reserved.
        if not running.ended and opened.target.provider.on_disconnect == "drain":
            task = asyncio.create_task(self._drain(opened, running))
            self._detached.add(task)
            task.add_done_callback(self._detached.discard)
            return
        seen = self._stream_consumed(opened, running)
        running.end_abandoned(seen, opened.began)
        await opened.upstream.__aexit__(None, None, None)

    async def _drain(self, opened: _OpenStream, running: RunningCall) -> None:
        """Read an abandoned stream on to its usage, bounded, then end its call."""
        running.client_left = True
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                async for chunk in opened.chunks:
                    opened.pipe.feed(chunk)
        except (UpstreamError, TimeoutError) as error:
            log.info("drain_cut_short", request_id=running.arrival.request_id, error=repr(error))
        finally:
            running.end_abandoned(self._stream_consumed(opened, running), opened.began)
            await opened.upstream.__aexit__(None, None, None)

    def _end_stream(self, opened: _OpenStream, running: RunningCall) -> None:
        if not running.ended:
            latency_ms = milliseconds_since(opened.began)
            self.health.succeeded(opened.target, latency_ms, monotonic())
            running.end_served(self._stream_consumed(opened, running), opened.began)

    def _end_broken(
        self, opened: _OpenStream, running: RunningCall, error: UpstreamError
    ) -> None:
        self.health.failed(opened.target, error, monotonic())
        running.end_broken(self._stream_consumed(opened, running), error, opened.began)

    def _stream_consumed(self, opened: _OpenStream, running: RunningCall) -> Consumed:
        pipe = opened.pipe
        if pipe.usage is not None and pipe.finished:
            return Consumed(opened.target, pipe.usage, UsageSource.PROVIDER.value)
        guess = running.estimate(pipe.output_tokens_seen)
        if pipe.usage is not None:
            # Said so far: the input is the provider's word, the output may have gone on.
            output = max(pipe.usage.output_tokens, pipe.output_tokens_seen)
            guess = replace(pipe.usage, output_tokens=output)
        return Consumed(opened.target, guess, UsageSource.ESTIMATED.value)

    def _consumed(self, target: Target, running: RunningCall, answer: BridgedAnswer) -> Consumed:
        if answer.usage is not None:
            return Consumed(target, answer.usage, UsageSource.PROVIDER.value)
        return self._estimated(target, running, answer.output_token_estimate)

    def _estimated(self, target: Target, running: RunningCall, output_tokens: int) -> Consumed:
        return Consumed(target, running.estimate(output_tokens), UsageSource.ESTIMATED.value)

    def _price(self, target: Target, arrival: Arrival) -> Price | None:
        provider = target.provider
        return self.prices.price_for(
            provider.name, provider.kind, target.price_model, arrival.at
        )


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


def _format_for(target: Target, call: CallRequest) -> str:
    """The caller's own format where the provider speaks it, so that the bytes can pass."""
    formats = target.provider.formats
    return call.format if call.format in formats else min(formats)


def _rank(price: Price | None) -> int | None:
    return price.input + price.output if price else None
