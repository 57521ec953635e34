"""How the end of a call becomes ledger entries, and who among them pays which counter. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billing.allowances import Hold
from billing.entries import Charge
from billing.models import Unit, UsageSource
from billing.usage import Usage
from routing.catalogue import Target
from routing.wire.call import CallRequest

NOTHING = Usage()
BEYOND_BOUND = "beyond_bound"


@dataclass(frozen=True, slots=True)
class Consumed:
    """What one upstream attempt used, and how that is known."""

    target: Target | None
    usage: Usage = NOTHING
    source: str = UsageSource.NONE.value
    flags: tuple[str, ...] = ()


def goes_beyond(holds: Sequence[Hold], *, tokens: int, cost_nano_usd: int) -> bool:
    """Whether a call took more than was held for it, however much else there was to take."""
    for hold in holds:
        if hold.unit == Unit.TOKENS:
            amount = tokens
        elif hold.unit == Unit.USD:
            amount = cost_nano_usd
        else:
            continue
        if amount > hold.amount:
            return True
    return False


def goes_beyond_request(call: CallRequest, consumptions: Sequence[Consumed]) -> bool:
    """Whether a provider reported more tokens than the request lets any provider use.

    Where the request sets no bound on its output, its input alone can tell.
    """
    tokens, _, mini_surplus = call.input_bound
    most = tokens + mini_surplus
    bound = call.output_token_bound
    for consumed in consumptions:
        usage = consumed.usage
        if bound is None:
            if usage.input_tokens > most:
                return True
        elif usage.total_tokens > most + bound * call.choices:
            return True
    return False


def shared_out(
    charges: Sequence[Charge], units: Mapping[int, str], parts: Sequence[tuple[int, int]]
) -> list[tuple[Charge, ...]]:
    """Give every entry of a call its own part of what the call as a whole was charged.

    Args:
        units: of each counter, by its id.
        parts: tokens and cost of each entry, entry 0 first; the request itself is charged there.
    """
    if len(parts) == 1:
        return [tuple(charges)]
    excess = {charge.counter_id: charge.excess for charge in charges}
    shares = []
    for number, (tokens, cost) in enumerate(parts):
        own = []
        amounts = {Unit.REQUESTS: int(number == 0), Unit.TOKENS: tokens, Unit.USD: cost}
        for charge in charges:
            amount = amounts[Unit(units[charge.counter_id])]
            beyond = min(amount, excess[charge.counter_id])
            excess[charge.counter_id] -= beyond
            if amount:
                own.append(Charge(charge.counter_id, amount, beyond))
        shares.append(tuple(own))
    return shares
