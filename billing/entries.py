"""The records that travel from the hot path through the journal into the ledger."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What one entry takes from one counter, in the counter's unit.

    Attributes:
        amount: all of it.
        excess: the part of it that no holding covered; added to `taken` when it is posted.
    """

    counter_id: int
    amount: int
    excess: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to an upstream, as the receipt shows it.

    Attributes:
        outcome: `served`, `failed` or `abandoned`.
        reason: an error code of the API, or empty.
    """

    provider: str
    upstream_model: str
    outcome: str
    reason: str
    started_at: datetime
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A ledger row on its way: the fields of `billing.models.LedgerEntry`, and its charges."""

    request_id: str
    entry: int
    started_at: datetime
    team_id: int
    team: str
    key_id: int
    key_name: str
    key_prefix: str
    end_user: str
    tags: dict[str, str]
    address: str
    streamed: bool
    requested_model: str
    provider_id: int | None
    provider: str
    upstream_model: str
    status: str
    error_code: str
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nano_usd: int | None
    usage_source: str
    price_version: str
    cached: bool
    latency_ms: int
    first_byte_ms: int | None
    timezone: str
    flags: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    charges: tuple[Charge, ...] = ()


@dataclass(frozen=True, slots=True)
class Admission:
    """What is written before an upstream is asked: enough to bill the call if we die now.

    Written again when another attempt is made than the first one that was meant.

    Attributes:
        template: the entry as it would be recovered with no output seen: status `recovered`,
            usage_source `recovered`, the estimated input, the attempts that failed before, no
            charges.
        holds: what the call reserved, as (counter id, unit, amount); unit as in Limit.
        input_price, output_price: nano-USD per million tokens of the target, None if unknown:
            what a recovered entry is charged at.
    """

    template: Entry
    holds: tuple[tuple[int, str, int], ...]
    input_price: int | None
    output_price: int | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call turned away, for the log page. Not money: it may be dropped."""

    request_id: str
    at: datetime
    address: str
    code: str
    message: str
    requested_model: str = ""
    end_user: str = ""
    team_id: int | None = None
    team: str = ""
    key_id: int | None = None
    key_name: str = ""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A request without an end, as its journal tells of it.

    Attributes:
        admission: of the attempt that was made last.
        output_tokens: last seen of that attempt.
        paid: what attempts cost that did not serve, the earliest first.
        is_between: the last of them was over, and no other attempt had been made.
    """

    admission: Admission
    output_tokens: int = 0
    paid: tuple[Entry, ...] = ()
    is_between: bool = False
