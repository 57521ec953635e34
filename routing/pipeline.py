"""THE HOT PATH: choose → reserve → write down → ask (with fallback) → settle → record.

Decoding and the key come before it and encoding after it, in `gateway_api/views.py`. In the
common case nothing here leaves the process but the call to the provider: no ORM, no Redis, no
thread hop, no file sync.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import TypeVar

from billing.estimate import Estimate
from billing.models import UsageSource
from billing.price_book import PriceBook
from billing.pricing import Price
from keys.caller import Caller
from keys.errors import GatewayError, ModelNotAllowedError
from routing.call_bound import call_bound
from routing.catalogue import Catalogue, Route, Target
from routing.crossing import crossing_to
from routing.errors import ModelNotFoundError, ModelNotPricedError
from routing.fallback import first_to_serve
from routing.health import Health
from routing.running_call import Arrival, Books, RunningCall, milliseconds_since
from routing.selection import candidates
from routing.settlement import Consumed
from routing.streaming import OpenStream, Streams
from routing.transport import NOTHING_SENT
from routing.wire.call import CallRequest

Attempted = TypeVar("Attempted")


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

    @property
    def may_drain(self) -> bool:
        return any(target.provider.on_disconnect == "drain" for target in self.targets)


@dataclass(frozen=True, slots=True)
class _Admitted:
    """An admitted call, and the max_tokens that its target is to be sent (None: the caller's)."""

    running: RunningCall
    max_tokens: int | None


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
        self.streams = Streams(health)
        self._detached: set[asyncio.Task[object]] = set()

    @property
    def reads_on(self) -> bool:
        """Whether calls whose clients have left are being read to their usage."""
        return bool(self._detached) or self.streams.reads_on

    async def answer(self, caller: Caller, call: CallRequest, arrival: Arrival) -> Answer:
        """The whole answer of a call that is not streamed."""
        plan = self._plan(caller, call, arrival)
        admitted = await self._admit(plan, caller, call, arrival)

        async def attempt(target: Target) -> Answer:
            return await self._ask(target, admitted)

        asking = self._serve(plan, admitted, attempt)
        if not plan.may_drain:
            return await asking
        task = self._detach(asking)
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

        running = admitted.running

        async def attempt(target: Target) -> OpenStream:
            began = monotonic()
            try:
                return await self.streams.open(target, running, admitted.max_tokens)
            except asyncio.CancelledError as left:
                self._end_unanswered(target, running, left, began)
                raise

        opening = self._serve(plan, admitted, attempt)
        opened = await (self._open_or_drain(opening, running) if plan.may_drain else opening)
        running.first_byte_ms = milliseconds_since(arrival.monotonic)
        served = Served(opened.target, running, len(running.attempts) + 1, admitted.max_tokens)
        return Stream(served, self.streams.relay(opened, running))

    async def _open_or_drain(
        self, opening: Coroutine[None, None, OpenStream], running: RunningCall
    ) -> OpenStream:
        async def open_for_whoever_is_left() -> OpenStream:
            opened = await opening
            if running.client_left:
                await self.streams.close(opened, running)
            return opened

        task = self._detach(open_for_whoever_is_left())
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done() and not task.cancelled() and task.exception() is None:
                await self.streams.close(task.result(), running)
            running.client_left = True
            raise

    def _detach(self, work: Coroutine[None, None, Attempted]) -> asyncio.Task[Attempted]:
        """Go on with it whether or not the client stays."""
        task = asyncio.create_task(work)
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return task

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
        return _Plan(route, targets, call_bound(call, targets, prices, route.max_output_tokens))

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
            await running.until_counted()
            raise
        except BaseException:
            # The client left between two attempts, or a bug: nothing may stay reserved.
            running.end_abandoned(Consumed(None), monotonic())
            raise

    async def _ask(self, target: Target, admitted: _Admitted) -> Answer:
        running, began = admitted.running, monotonic()
        call = running.call
        upstream_format, crossing = crossing_to(target, call)
        body = crossing.request(
            call, model=target.upstream_model, max_output_tokens=admitted.max_tokens
        )
        try:
            raw = await target.provider.ask(upstream_format, body, running.arrival.upstream_headers)
        except asyncio.CancelledError as left:
            self._end_unanswered(target, running, left, began)
            raise
        answer = crossing.answer(raw, call, created=int(running.arrival.at.timestamp()))
        self.health.succeeded(target, milliseconds_since(began), monotonic())
        running.end_served(running.consumed(target, answer), began)
        await running.until_counted()
        served = Served(target, running, len(running.attempts), admitted.max_tokens)
        return Answer(served, answer.body)

    def _end_unanswered(
        self, target: Target, running: RunningCall, left: asyncio.CancelledError, began: float
    ) -> None:
        """Nothing has been seen of an answer; but a provider that has the question reads it."""
        consumed = Consumed(target)
        if NOTHING_SENT not in left.args:
            consumed = Consumed(target, running.estimate(0), UsageSource.ESTIMATED.value)
        running.end_abandoned(consumed, began)

    def _price(self, target: Target, arrival: Arrival) -> Price | None:
        provider = target.provider
        return self.prices.price_for(provider.name, provider.kind, target.price_model, arrival.at)


def _rank(price: Price | None) -> int | None:
    return price.input + price.output if price else None
