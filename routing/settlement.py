"""How the end of a call becomes ledger entries, and who among them pays which counter. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from billing.entries import Charge, Entry
from billing.models import Unit, UsageSource
from billing.usage import Usage
from routing.catalogue import Target

NOTHING = Usage()


@dataclass(frozen=True, slots=True)
class Consumed:
    """What one upstream attempt used, and how that is known."""

    target: Target | None
    usage: Usage = NOTHING
    source: str = UsageSource.NONE.value
    flags: tuple[str, ...] = ()


def charged(
    entries: Sequence[Entry], charges: Sequence[Charge], units: Mapping[int, str]
) -> list[Entry]:
    """Give every entry its own part of what the call as a whole was charged.

    Args:
        entries: entry 0 first; the request itself is charged there.
        units: of each counter, by its id.
    """
    if any(charge.excess for charge in charges):
        entries = [replace(entries[0], flags=(*entries[0].flags, "beyond_bound")), *entries[1:]]
    if len(entries) == 1:
        return [replace(entries[0], charges=tuple(charges))]
    excess = {charge.counter_id: charge.excess for charge in charges}
    result = []
    for entry in entries:
        own = []
        for charge in charges:
            amount = _amount(entry, units[charge.counter_id])
            beyond = min(amount, excess[charge.counter_id])
            excess[charge.counter_id] -= beyond
            if amount:
                own.append(Charge(charge.counter_id, amount, beyond))
        result.append(replace(entry, charges=tuple(own)))
    return result


def _amount(entry: Entry, unit: str) -> int:
    if unit == Unit.REQUESTS:
        return int(entry.entry == 0)
    if unit == Unit.TOKENS:
        return entry.input_tokens + entry.output_tokens
    return entry.cost_nano_usd or 0
