"""Makes sample entries that look like a few months of real calls, for trying pages and measuring.

What a call is like comes from a fixed seed; only when it was and its id are new on every run.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from billing.entries import Attempt, Entry
from billing.models import EntryStatus, UsageSource
from billing.pricing import Price, cost
from billing.usage import Usage

_SEED = 20260101
_END_USERS = 200
_PROJECTS = ("search", "support", "reports", "assistant")
_ENVIRONMENTS = ("prod", "prod", "prod", "staging")
_FAILURES = ("upstream_timeout", "upstream_error", "upstream_overloaded")


@dataclass(frozen=True, slots=True)
class SampleKey:
    id: int
    name: str
    prefix: str


@dataclass(frozen=True, slots=True)
class SampleTeam:
    id: int
    name: str
    timezone: str
    keys: tuple[SampleKey, ...]


@dataclass(frozen=True, slots=True)
class _SampleModel:
    """A model, what it costs (any plausible figures), and how usual it is."""

    name: str
    provider: str
    upstream: str
    address: str
    price: Price
    share: int


_CHAT, _MESSAGES = "/v1/chat/completions", "/v1/messages"
_MODELS = (
    _SampleModel(
        "large", "sample-openai", "large-2026-01", _CHAT, Price(0, 2_500_000_000, 10_000_000_000), 4
    ),
    _SampleModel(
        "small", "sample-openai", "small-2026-01", _CHAT, Price(0, 150_000_000, 600_000_000), 9
    ),
    _SampleModel(
        "careful",
        "sample-anthropic",
        "careful-4",
        _MESSAGES,
        Price(0, 3_000_000_000, 15_000_000_000, cached_input=300_000_000),
        5,
    ),
    _SampleModel(
        "quick", "sample-anthropic", "quick-4", _MESSAGES, Price(0, 800_000_000, 4_000_000_000), 2
    ),
)
_SHARES = [model.share for model in _MODELS]


def sample_entries(
    team: SampleTeam, *, count: int, days: int, until: datetime, run: str
) -> Iterator[Entry]:
    """Entries over the days before an instant, oldest day first.

    Args:
        run: begins their request ids; another run needs another one.
    """
    random = Random(_SEED)  # noqa: S311 – samples, not secrets
    begin = until - timedelta(days=days)
    for number in range(count):
        day = number * days // count
        in_day = timedelta(days=random.triangular(0, 1, 0.6))
        started_at = min(begin + timedelta(days=day) + in_day, until)
        yield _sample(random, team, f"{run}-{number}", started_at)


def _sample(random: Random, team: SampleTeam, request_id: str, started_at: datetime) -> Entry:
    (model,) = random.choices(_MODELS, _SHARES)
    key = random.choice(team.keys)
    chance = random.random()
    failed, cancelled = chance < 0.03, 0.03 <= chance < 0.04
    usage = Usage() if failed else _usage(random, cached=model.price.cached_input is not None)
    latency_ms = 60_000 if failed else int(random.lognormvariate(6.8, 0.7))
    error = random.choice(_FAILURES) if failed else ""
    status = EntryStatus.ERROR if failed else EntryStatus.OK
    streamed = cancelled or random.random() < 0.4
    return Entry(
        request_id=request_id,
        entry=0,
        started_at=started_at,
        team_id=team.id,
        team=team.name,
        key_id=key.id,
        key_name=key.name,
        key_prefix=key.prefix,
        end_user=f"user-{int(random.paretovariate(0.8)) % _END_USERS}",
        tags={"project": random.choice(_PROJECTS), "env": random.choice(_ENVIRONMENTS)},
        address=model.address,
        streamed=streamed,
        requested_model=model.name,
        provider_id=None,
        provider=model.provider,
        upstream_model=model.upstream,
        status=(EntryStatus.CANCELLED if cancelled else status).value,
        error_code=error,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        output_tokens=usage.output_tokens,
        reasoning_tokens=0,
        cost_nano_usd=cost(usage, model.price),
        usage_source=(UsageSource.NONE if failed else UsageSource.PROVIDER).value,
        price_version="sample",
        cached=False,
        latency_ms=latency_ms,
        first_byte_ms=latency_ms // 4 if streamed else None,
        timezone=team.timezone,
        attempts=(
            Attempt(
                model.provider,
                model.upstream,
                "failed" if failed else "served",
                error,
                started_at,
                latency_ms,
            ),
        ),
    )


def _usage(random: Random, *, cached: bool) -> Usage:
    input_tokens = int(random.lognormvariate(6.5, 1.0)) + 8
    return Usage(
        input_tokens=input_tokens,
        cached_input_tokens=input_tokens // 2 if cached and random.random() < 0.3 else 0,
        output_tokens=int(random.lognormvariate(5.3, 0.9)) + 1,
    )
