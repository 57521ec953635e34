"""What a running call tells its journal of attempts after the first, before they are made."""

import asyncio
import resource
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import monotonic

import pytest

from billing.allowances import Reservation
from billing.counters import CounterStore
from billing.entries import Entry, Unfinished
from billing.journal import Journal
from billing.journal_folder import segment_paths
from billing.journal_lines import read_lines
from billing.limits import Limits
from billing.price_book import BookedPrice, PriceBook
from billing.pricing import Price
from billing.usage import Usage
from keys.caller import Caller
from keys.errors import InvalidRequestError, ServiceUnavailableError
from routing.catalogue import Target
from routing.errors import UpstreamFailingError
from routing.fallback import first_to_serve
from routing.health import Health
from routing.running_call import Arrival, Books, RunningCall
from routing.settlement import Consumed
from routing.wire.call import read_request
from tests.billing.journal_contents import read_journal
from tests.routing.configs import target

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
CHEAP, DEAR = target("small", provider=1), target("large", provider=2)
PRICES = PriceBook(
    [
        BookedPrice("demo-1", "", "small", NOON, Price(id=1, input=10**6, output=2 * 10**6)),
        BookedPrice(
            "demo-2",
            "",
            "large",
            NOON,
            Price(
                7, 10**8, 10**9, above_input_tokens=4, above_input=3 * 10**8, above_output=10**10
            ),
        ),
    ]
)
USAGE = Usage(input_tokens=1000, output_tokens=500)
Attempting = Callable[[Target], Awaitable[str]]


@pytest.fixture
def journal(tmp_path: Path):
    # Every segment is as long as what it must hold: nothing more fits without a longer file.
    opened = Journal(tmp_path, "worker-1", segment_bytes=1)
    yield opened
    opened.close()


@pytest.fixture
def recorded() -> list[Entry]:
    return []


@pytest.fixture
def running(journal, recorded) -> RunningCall:
    call = read_request(
        "openai_chat", b'{"model":"m","messages":[{"role":"user","content":"good day"}]}'
    )
    arrival = Arrival("req-0", "/v1/chat/completions", NOON, monotonic(), "", {}, {})
    books = Books(Limits(CounterStore(1)), journal, recorded.extend)
    caller = Caller(1, "ci", "gw_test", 1, "research", "UTC")
    admitted = RunningCall(caller, call, arrival, Reservation((), 100), books, PRICES)
    admitted.admit(CHEAP)
    return admitted


def serve(running: RunningCall, attempt: Attempting, *targets: Target, attempts: int = 3) -> str:
    random = Random(1)  # noqa: S311 - a repeatable draw
    return asyncio.run(
        first_to_serve(running, targets, attempts, attempt, health=Health(), random=random)
    )


def words(directory: Path) -> list[str]:
    paths = segment_paths(directory, "worker-1")
    records = [record for path in paths for record in read_lines(path.read_bytes())]
    return [next(iter(record)) for record in records if record]


def unfinished(directory: Path) -> Unfinished:
    (call,) = read_journal(segment_paths(directory, "worker-1")).unfinished
    return call


@contextmanager
def full_disk(directory: Path):
    """No file may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = max(path.stat().st_size for path in segment_paths(directory, "worker-1"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_one_attempt_is_written_down_by_its_admission_alone(running, tmp_path):
    async def attempt(asked: Target) -> str:
        running.end_served(Consumed(asked, USAGE, "provider"), monotonic())
        return "served"

    assert serve(running, attempt, CHEAP, DEAR) == "served"
    assert words(tmp_path) == ["admit", "end"]


def test_F30_the_second_target_is_written_down_before_it_is_asked_with_what_the_first_cost(
    running, tmp_path
):
    found: list[Unfinished] = []

    async def attempt(asked: Target) -> str:
        if asked is CHEAP:
            raise UpstreamFailingError("it failed", usage=USAGE)
        found.append(unfinished(tmp_path))
        return "served"

    serve(running, attempt, CHEAP, DEAR)
    assert words(tmp_path) == ["admit", "paid", "admit"]
    (call,) = found
    (cheap,) = call.paid
    assert (cheap.provider, cheap.cost_nano_usd, cheap.price_version) == ("demo-1", 2_000, "1")
    assert (cheap.status, cheap.error_code) == ("error", "upstream_error")
    dear = call.admission.template
    assert (dear.provider, dear.upstream_model, dear.price_version) == ("demo-2", "large", "7")
    assert [attempt.provider for attempt in dear.attempts] == ["demo-1"]
    # The input is long enough for the prices above the threshold.
    assert dear.input_tokens > 4
    assert (call.admission.input_price, call.admission.output_price) == (3 * 10**8, 10**10)


def test_a_target_that_cannot_say_what_is_asked_gives_way_in_the_journal_too(running, tmp_path):
    async def attempt(asked: Target) -> str:
        if asked is CHEAP:
            raise InvalidRequestError("it has no words for that")
        return "served"

    serve(running, attempt, CHEAP, DEAR)
    assert unfinished(tmp_path).admission.template.provider == "demo-2"
    assert unfinished(tmp_path).paid == ()


@pytest.mark.parametrize("usage", [None, USAGE])
def test_F32_an_attempt_that_cannot_be_written_down_is_not_made(running, recorded, tmp_path, usage):
    asked: list[Target] = []

    async def attempt(place: Target) -> str:
        asked.append(place)
        raise UpstreamFailingError("it failed", usage=usage)

    with full_disk(tmp_path):
        with pytest.raises(ServiceUnavailableError) as refusal:
            serve(running, attempt, CHEAP, DEAR)
        running.end_failed(refusal.value)
    assert asked == [CHEAP]
    (entry,) = recorded
    assert (entry.status, entry.provider) == ("error", "demo-1")
    assert entry.cost_nano_usd == (2_000 if usage else 0)
    assert read_journal(segment_paths(tmp_path, "worker-1")).entries == [entry]
