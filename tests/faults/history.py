"""Checks what all workers did against what they were allowed to, after the fact.

The events of all processes are on one clock. At every instant, what running calls hold of a
counter and what ended calls were charged (but for excess that a provider reported beyond its
bound) must be within the ceiling.
"""

import json
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, order=True)
class Event:
    """A call began or ceased to hold.

    Attributes:
        at: nanoseconds on the machine's monotonic clock.
        kind: admit or end.
        amounts: (counter id, what is held from now on) or (counter id, what was charged).
    """

    at: int
    kind: str
    request_id: str
    amounts: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Movement:
    """One value that the database gave a counter."""

    counter_id: int
    taken: int
    ceiling: int


@dataclass(frozen=True, slots=True)
class CallPeak:
    """The most that was held and charged of a counter at one instant."""

    counter_id: int
    most: int
    ceiling: int


def read_events(folder: Path) -> list[Event]:
    """What all processes recorded, in order; half a line at the end of a file is left out."""
    events = []
    for path in folder.glob("*.history"):
        for line in path.read_bytes().split(b"\n")[:-1]:
            at, kind, request_id, amounts = json.loads(line)
            held = tuple((counter_id, amount) for counter_id, amount in amounts)
            events.append(Event(at, kind, request_id, held))
    return sorted(events)


def peaks(events: Iterable[Event], ceilings: dict[int, int]) -> list[CallPeak]:
    """The highest instant of each counter."""
    running: dict[str, tuple[tuple[int, int], ...]] = {}
    charged: set[str] = set()
    used = Tally[int]()
    highest = Tally[int]()
    for event in sorted(events):
        if event.kind == "end":
            for counter_id, amount in running.pop(event.request_id, ()):
                used[counter_id] -= amount
            # Recovery that is repeated says the same again.
            if event.request_id in charged:
                continue
            charged.add(event.request_id)
        else:
            running[event.request_id] = event.amounts
        for counter_id, amount in event.amounts:
            used[counter_id] += amount
            highest[counter_id] = max(highest[counter_id], used[counter_id])
    return [
        CallPeak(counter_id, most, ceilings[counter_id]) for counter_id, most in highest.items()
    ]


def over_the_ceiling(
    events: Sequence[Event], movements: Sequence[Movement], ceilings: dict[int, int]
) -> list[str]:
    """Every counter that was passed at some instant, by the calls or by the database."""
    passed = [
        f"counter {peak.counter_id}: calls held {peak.most} of {peak.ceiling}"
        for peak in peaks(events, ceilings)
        if peak.most > peak.ceiling
    ]
    most: dict[int, Movement] = {}
    for movement in movements:
        if movement.taken > movement.ceiling:
            before = most.get(movement.counter_id, movement)
            most[movement.counter_id] = max(before, movement, key=lambda one: one.taken)
    return passed + [
        f"counter {one.counter_id}: {one.taken} were taken of {one.ceiling}"
        for one in most.values()
    ]


def not_once(wanted: Iterable[str], rows: Iterable[str]) -> list[str]:
    """Which of the wanted names are missing among the rows, or there more than once."""
    found = Tally(rows)
    return [f"{name}: {found[name]} rows" for name in sorted(set(wanted)) if found[name] != 1]


def ended_otherwise(events: Iterable[Event], rows: Iterable[tuple[str, int]]) -> list[str]:
    """Admitted requests that are not on the ledger exactly once; rows are (request id, entry)."""
    entries = defaultdict(list)
    for request_id, entry in rows:
        entries[request_id].append(entry)
    admitted = {event.request_id for event in events if event.kind == "admit"}
    return [
        f"{request_id}: entries {sorted(entries[request_id])}"
        for request_id in sorted(admitted)
        if sorted(entries[request_id]) != list(range(max(1, len(entries[request_id]))))
    ]
