"""How much longer the calls of one gateway took than those of its twin at the same moments."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.outages.steady_load import Call

RESAMPLINGS = 1000


@dataclass(frozen=True, slots=True)
class AddedTime:
    """The difference between two 99th percentiles, in seconds.

    Attributes:
        measured: as it was.
        surely: so much at least, in 99 of 100 cases, given how much it differs from one second
            to another; on a quiet machine nearly the same.
        twin: the percentile that it was added to.
    """

    calls: int
    twin: float
    measured: float
    surely: float

    def __str__(self) -> str:
        return (
            f"{self.measured * 1000:+.0f} ms (surely {self.surely * 1000:+.0f}) added to"
            f" {self.twin * 1000:.0f} ms, {self.calls} calls"
        )


def added_p99(broken: Sequence[Call], twin: Sequence[Call]) -> AddedTime:
    of_broken, of_twin = _by_second(broken), _by_second(twin)
    both = sorted(of_broken.keys() & of_twin.keys())
    rng = random.Random(4)  # noqa: S311 - reproducible, not secrets

    def difference(seconds: Iterable[int]) -> float:
        """Whole seconds: what disturbs the machine lasts, and disturbs both."""
        chosen = list(seconds)
        return _p99(of_broken, chosen) - _p99(of_twin, chosen)

    resampled = sorted(difference(rng.choices(both, k=len(both))) for _ in range(RESAMPLINGS))
    return AddedTime(
        len(broken), _p99(of_twin, both), difference(both), resampled[RESAMPLINGS // 100]
    )


def _by_second(calls: Iterable[Call]) -> dict[int, list[float]]:
    seconds = defaultdict(list)
    for call in calls:
        seconds[int(call.at)].append(call.seconds)
    return seconds


def _p99(by_second: dict[int, list[float]], seconds: Iterable[int]) -> float:
    took = sorted(one for second in seconds for one in by_second[second])
    return took[int(len(took) * 0.99)]
