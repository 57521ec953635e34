"""Which targets are to be left alone for a while, and how fast the others have been.

One per process, in memory. A target that fails five times in a row cools for 30 seconds, twice
in a row for 60, and so on up to 300; after that one request probes it while the others still stay
away. What a provider asks for itself (`Retry-After`) is honoured at once.
"""

from dataclasses import dataclass

from routing.catalogue import Target
from routing.errors import (
    UpstreamError,
    UpstreamOverloadedError,
    UpstreamRateLimitedError,
    UpstreamRefusedRequestError,
)

FAILURES_TO_COOL = 5
FIRST_COOLING_SECONDS = 30.0
LONGEST_COOLING_SECONDS = 300.0
LONGEST_RETRY_AFTER_SECONDS = 600.0
# A probe that nothing was heard of for so long (its caller may have been refused before it was
# sent) is given up, and the next request probes.
PROBE_LAPSE_SECONDS = 5.0
LATENCY_SHARE_OF_NEWEST = 0.2

_Place = tuple[int, str]


@dataclass(slots=True)
class _Record:
    failures: int = 0
    coolings: int = 0
    cooling_until: float = 0.0
    probed_until: float = 0.0
    latency_ms: float | None = None


class Health:
    """What has been seen of every target, by provider and upstream model."""

    def __init__(self) -> None:
        self._records: dict[_Place, _Record] = {}

    def failed(self, target: Target, error: UpstreamError, monotonic: float) -> None:
        if isinstance(error, UpstreamRefusedRequestError):
            # The request was at fault; the provider did answer.
            self._answered(self._record(target))
            return
        record = self._record(target)
        record.failures += 1
        record.probed_until = 0.0
        # Calls that were under way when it began to cool tell nothing new.
        cooling = monotonic < record.cooling_until
        if not cooling and (record.failures >= FAILURES_TO_COOL or record.coolings):
            record.coolings += 1
            record.failures = 0
            seconds = min(FIRST_COOLING_SECONDS * record.coolings, LONGEST_COOLING_SECONDS)
            record.cooling_until = monotonic + seconds
        if (
            isinstance(error, UpstreamRateLimitedError | UpstreamOverloadedError)
            and error.retry_after_seconds is not None
        ):
            asked = min(error.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)
            record.cooling_until = max(record.cooling_until, monotonic + asked)

    def succeeded(self, target: Target, latency_ms: float, monotonic: float) -> None:
        record = self._record(target)
        # A cooling stays: an answer to an older call does not undo what the provider asked for.
        self._answered(record)
        if record.latency_ms is None:
            record.latency_ms = float(latency_ms)
        else:
            record.latency_ms += LATENCY_SHARE_OF_NEWEST * (latency_ms - record.latency_ms)

    def cooling_for(self, target: Target, monotonic: float) -> float:
        """Seconds for which a target is to be left alone; 0 when it may be asked."""
        record = self._records.get(_place(target))
        if record is None:
            return 0.0
        return max(record.cooling_until - monotonic, 0.0)

    def probe_out_for(self, target: Target, monotonic: float) -> float:
        """Seconds for which others wait for the word of a probe that is out; 0 for none."""
        record = self._records.get(_place(target))
        return max(record.probed_until - monotonic, 0.0) if record else 0.0

    def claim_probe(self, target: Target, monotonic: float) -> None:
        """The asker is about to try a target; after a cooling it is the one that probes."""
        record = self._records.get(_place(target))
        if record is not None and record.coolings:
            record.probed_until = monotonic + PROBE_LAPSE_SECONDS

    def latency_ms(self, target: Target) -> float | None:
        """A moving average over successes; None before the first."""
        record = self._records.get(_place(target))
        return record.latency_ms if record else None

    def _record(self, target: Target) -> _Record:
        return self._records.setdefault(_place(target), _Record())

    def _answered(self, record: _Record) -> None:
        record.failures = record.coolings = 0
        record.probed_until = 0.0


def _place(target: Target) -> _Place:
    return target.provider.id, target.upstream_model
