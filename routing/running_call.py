"""An admitted call, from its reservation to the one moment at which it ends.

However a call ends (answered, failed, abandoned), `_end` runs once: it settles the reservation,
writes the end line of the journal and hands the entries to the ledger. All of that is memory and
one write, so it can run inside a task that is being cancelled.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from time import monotonic

import structlog

from billing.entries import Admission, Attempt, Charge, Entry
from billing.journal import Journal
from billing.limits import Limits, Reservation
from billing.models import EntryStatus, UsageSource
from billing.price_book import PriceBook
from billing.pricing import Price, cost, plain_rates
from billing.sanitizing import stored_cost
from billing.usage import Usage
from keys.caller import Caller
from keys.errors import GatewayError
from routing.catalogue import Target
from routing.error_table import code_of
from routing.errors import UpstreamError
from routing.settlement import (
    BEYOND_BOUND,
    Consumed,
    goes_beyond,
    goes_beyond_request,
    shared_out,
)
from routing.wire.bridge import BridgedAnswer, StreamPipe
from routing.wire.call import CallRequest

log = structlog.get_logger("gateway.request")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is known of a request before anything is decided.

    Attributes:
        at: admission time, UTC; the periods of all limits are those of this moment.
        monotonic: the same moment on the clock that measures durations.
        end_user: the application's user, from header or body; may be empty.
        upstream_headers: the client's headers that a provider may see.
    """

    request_id: str
    address: str
    at: datetime
    monotonic: float
    end_user: str
    tags: Mapping[str, str]
    upstream_headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Books:
    """Where an admitted call is accounted for.

    Attributes:
        record: hands finished entries to the ledger's writer.
    """

    limits: Limits
    journal: Journal
    record: Callable[[Sequence[Entry]], None]


@dataclass(slots=True)
class RunningCall:
    """One admitted call.

    Attributes:
        held_failures: how many of `paid_failures` the reservation has grown by.
        client_left: the client is gone, and the upstream is being read to its usage.
        beyond: charges of which the reservation did not cover all, once the call has ended.
        cost_nano_usd: known once the call has ended; None while the price is unknown.
    """

    caller: Caller
    call: CallRequest
    arrival: Arrival
    reservation: Reservation
    books: Books
    prices: PriceBook
    attempts: list[Attempt] = field(default_factory=list)
    paid_failures: list[Consumed] = field(default_factory=list)
    held_failures: int = 0
    admitted_target: Target | None = None
    last_failed: Target | None = None
    first_byte_ms: int | None = None
    client_left: bool = False
    ended: bool = False
    beyond: tuple[Charge, ...] = ()
    cost_nano_usd: int | None = 0

    def admit(self, first_target: Target) -> None:
        """Write the admission down before any provider is asked.

        Raises:
            ServiceUnavailableError: the journal cannot be written. HTTP 503.
        """
        self.books.journal.admit(self._admission(first_target))
        self.admitted_target = first_target

    def begin(self, target: Target) -> None:
        """Write an attempt down before it is made, where it is not the one that was admitted.

        Raises:
            ServiceUnavailableError: the journal cannot be written. HTTP 503.
        """
        if self.attempts or target is not self.admitted_target:
            self.books.journal.admit_again(self._admission(target))

    def _admission(self, target: Target) -> Admission:
        price = self._price(target)
        consumed = Consumed(target, self.estimate(0), UsageSource.RECOVERED.value)
        rates = plain_rates(price, consumed.usage.input_tokens) if price else (None, None)
        return Admission(
            template=self._entry(consumed, 0, EntryStatus.RECOVERED.value, "", None, ()),
            holds=tuple((h.counter_id, h.unit, h.amount) for h in self.reservation.holds),
            input_price=rates[0],
            output_price=rates[1],
        )

    def estimate(self, output_tokens: int) -> Usage:
        """A stand-in where a provider worked and reported nothing."""
        return Usage(
            input_tokens=max(1, self.call.input_bound.estimate), output_tokens=output_tokens
        )

    def consumed(self, target: Target, answer: BridgedAnswer | StreamPipe) -> Consumed:
        """What an answer that is complete has used, as its provider says or else by its length.

        Beside figures that cannot be true stands what we would have guessed.
        """
        usage = answer.usage
        if usage is None:
            guess = self.estimate(answer.output_tokens_seen)
            return Consumed(target, guess, UsageSource.ESTIMATED.value)
        flags: tuple[str, ...] = ()
        if usage.suspect:
            guess = self.estimate(answer.output_tokens_seen)
            flags = (f"estimate={guess.input_tokens}+{guess.output_tokens}",)
        return Consumed(target, usage, UsageSource.PROVIDER.value, flags)

    def attempt_failed(self, target: Target, error: UpstreamError, began: float) -> None:
        """Note an attempt that did not serve; what it cost is charged all the same."""
        self.last_failed = target
        self._note(target, "failed", error, began)
        if error.usage is not None:
            self.paid_failures.append(Consumed(target, error.usage, UsageSource.PROVIDER.value))
        elif error.maybe_billed:
            # A time-out: the provider may have worked. Its input is the least it charges.
            guess = Consumed(target, self.estimate(0), UsageSource.ESTIMATED.value, ("uncertain",))
            self.paid_failures.append(guess)

    async def may_ask_again(self) -> bool:
        """Whether another attempt fits: what failed ones took is held besides its own bound.

        Raises:
            ServiceUnavailableError: what they took cannot be written down. HTTP 503.
        """
        new = self.paid_failures[self.held_failures :]
        if not new:
            return True
        error = EntryStatus.ERROR.value
        self.books.journal.note_paid(
            [
                self._entry(one, 0, error, self.attempts[-1].reason, self._cost(one), ())
                for one in new
            ]
        )
        fits = await self.books.limits.hold_more(
            self.reservation,
            tokens=sum(failure.usage.total_tokens for failure in new),
            cost_nano_usd=sum(self._cost(failure) or 0 for failure in new),
        )
        if fits:
            self.held_failures += len(new)
        return fits

    def end_served(self, consumed: Consumed, began: float) -> None:
        self._note(consumed.target, "served", None, began)
        self._end(consumed, EntryStatus.CANCELLED if self.client_left else EntryStatus.OK)

    def end_abandoned(self, consumed: Consumed, began: float) -> None:
        """The client left before the answer was complete."""
        self._note(consumed.target, "abandoned", None, began)
        self._end(consumed, EntryStatus.CANCELLED)

    def end_broken(self, consumed: Consumed, error: GatewayError, began: float) -> None:
        """A stream that had begun did not reach its end."""
        self._note(consumed.target, "failed", error, began)
        self._end(consumed, EntryStatus.ERROR, code_of(error))

    def end_failed(self, error: GatewayError) -> None:
        """No attempt served: entry 0 is the last one that cost something, else the last one."""
        unpaid = Consumed(self.last_failed)
        last = self.paid_failures.pop() if self.paid_failures else unpaid
        self._end(last, EntryStatus.ERROR, code_of(error))

    async def until_counted(self) -> None:
        """Wait, where the call took more than was held, until no worker sees room there.

        Before its answer goes out: the caller's next call must meet the limit as it is now.
        """
        if self.beyond:
            await self.books.limits.until_counted(self.beyond)

    def _end(self, consumed: Consumed, status: EntryStatus, code: str = "") -> None:
        if self.ended:
            return
        self.ended = True
        consumptions = [consumed, *self.paid_failures]
        costs = [self._cost(one) for one in consumptions]
        # As the ledger will say it: limits, headers and receipt agree with it.
        known = [stored_cost(cost or 0) for cost in costs]
        self.cost_nano_usd = None if None in costs else sum(known)
        tokens = [one.usage.total_tokens for one in consumptions]
        holds, all_tokens, all_cost = self.reservation.holds, sum(tokens), sum(known)
        charges = self.books.limits.settle(
            self.reservation, tokens=all_tokens, cost_nano_usd=all_cost
        )
        self.beyond = tuple(charge for charge in charges if charge.excess)
        units = {hold.share.counter_id: hold.unit for hold in holds}
        shares = shared_out(charges, units, list(zip(tokens, known, strict=True)))
        if goes_beyond(holds, tokens=all_tokens, cost_nano_usd=all_cost) or goes_beyond_request(
            self.call, consumptions
        ):
            consumptions[0] = replace(consumed, flags=(*consumed.flags, BEYOND_BOUND))
        statuses = [status.value, *[EntryStatus.ERROR.value] * len(self.paid_failures)]
        entries = [
            self._entry(one, number, statuses[number], code, costs[number], shares[number])
            for number, one in enumerate(consumptions)
        ]
        self.books.journal.finish(entries)
        self.books.record(entries)
        _log(entries[0])

    def _entry(
        self,
        consumed: Consumed,
        number: int,
        status: str,
        code: str,
        cost_nano_usd: int | None,
        charges: tuple[Charge, ...],
    ) -> Entry:
        caller, usage, target = self.caller, consumed.usage, consumed.target
        spent = consumed.source != UsageSource.NONE
        price = self._price(target) if spent else None
        return Entry(
            request_id=self.arrival.request_id,
            entry=number,
            started_at=self.arrival.at,
            team_id=caller.team_id,
            team=caller.team_name,
            key_id=caller.key_id,
            key_name=caller.key_name,
            key_prefix=caller.key_prefix,
            end_user=self.arrival.end_user,
            tags=dict(self.arrival.tags),
            address=self.arrival.address,
            streamed=self.call.stream,
            requested_model=self.call.model,
            provider_id=target.provider.id if target else None,
            provider=target.provider.name if target else "",
            upstream_model=target.upstream_model if target else "",
            status=status,
            error_code=code,
            input_tokens=usage.input_tokens,
            cached_input_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cost_nano_usd=cost_nano_usd,
            usage_source=consumed.source,
            price_version=str(price.id) if price else "",
            cached=False,
            latency_ms=milliseconds_since(self.arrival.monotonic),
            first_byte_ms=self.first_byte_ms,
            timezone=caller.timezone,
            flags=(*consumed.flags, "usage_suspect") if usage.suspect else consumed.flags,
            attempts=tuple(self.attempts) if number == 0 else (),
            charges=charges,
        )

    def _cost(self, consumed: Consumed) -> int | None:
        """Nano-USD; None while the price is unknown."""
        if consumed.source == UsageSource.NONE:
            return 0
        price = self._price(consumed.target)
        return cost(consumed.usage, price) if price else None

    def _price(self, target: Target | None) -> Price | None:
        if target is None:
            return None
        provider = target.provider
        model = target.price_model
        return self.prices.price_for(provider.name, provider.kind, model, self.arrival.at)

    def _note(
        self, target: Target | None, outcome: str, error: GatewayError | None, began: float
    ) -> None:
        if target is None:
            return
        self.attempts.append(
            Attempt(
                provider=target.provider.name,
                upstream_model=target.upstream_model,
                outcome=outcome,
                reason=code_of(error) if error else "",
                started_at=self.arrival.at + timedelta(seconds=began - self.arrival.monotonic),
                latency_ms=milliseconds_since(began),
            )
        )


def milliseconds_since(began: float) -> int:
    return int((monotonic() - began) * 1000)


def _log(entry: Entry) -> None:
    log.info(
        "request",
        request_id=entry.request_id,
        team=entry.team,
        key_prefix=entry.key_prefix,
        end_user=entry.end_user,
        model=entry.requested_model,
        provider=entry.provider,
        upstream_model=entry.upstream_model,
        input_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
        latency_ms=entry.latency_ms,
        status=entry.status,
        error=entry.error_code,
    )
