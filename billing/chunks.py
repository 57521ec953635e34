"""How much a worker takes at once: enough to be left alone for a while, never what others need.

Pure. What a call needs of several counters is taken of all of them or of none: two workers that
each took half of it would wait for each other, and both refuse. What is taken beyond the calls at
hand covers the use of a minute to come, and shrinks with the room that is left, until near the
ceiling it is nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Of the room beyond the calls at hand, a worker takes at most one part in so many.
SHARE_ALONE = 2
SHARE_AMONG_OTHERS = 8


@dataclass(frozen=True, slots=True)
class Need:
    """What one call must have of a counter.

    Attributes:
        call: which one; its needs of all counters are met together or not at all.
        least: what is of any use to it.
        full: what it would like.
        recall: whether others shall be called back where that is lacking.
    """

    call: int
    least: int
    full: int
    recall: bool = False


@dataclass(slots=True)
class Pot:
    """What one counter has for a worker, while an exchange is worked out.

    Attributes:
        idle: what the worker has already, for the calls at hand.
        room: what is left below the ceiling; may be negative.
        granted: taken from it so far.
        is_short: some call got less than it would have liked.
        calls_back: others are to be asked for what it lacks.
    """

    idle: int
    room: int
    granted: int = 0
    is_short: bool = False
    calls_back: bool = False

    @property
    def available(self) -> int:
        return self.idle + max(0, self.room)

    def take(self, amount: int) -> None:
        from_room = max(0, amount - self.idle)
        self.idle -= amount - from_room
        self.room -= from_room
        self.granted += from_room

    def take_ahead(self, amount: int, *, alone: bool) -> None:
        """For calls to come, to be spared the next asking and to last through an outage.

        Args:
            alone: no other worker holds any of this counter.
        """
        if self.is_short:
            return
        spare = max(0, self.room) // (SHARE_ALONE if alone else SHARE_AMONG_OTHERS)
        self.room -= min(amount, spare)
        self.granted += min(amount, spare)


def meet(needs: Iterable[tuple[Pot, Need]]) -> None:
    """Meet the needs of calls out of these pots, in the order of the calls."""
    calls: dict[int, list[tuple[Pot, Need]]] = {}
    for pot, need in needs:
        calls.setdefault(need.call, []).append((pot, need))
    for number in sorted(calls):
        _meet(calls[number])


def _meet(call: Sequence[tuple[Pot, Need]]) -> None:
    fits = all(pot.available >= need.least for pot, need in call)
    for pot, need in call:
        is_lacking = pot.available < need.full
        pot.is_short |= is_lacking or not fits
        pot.calls_back |= is_lacking and need.recall
        if fits:
            pot.take(min(need.full, pot.available))
