"""What may be spent (limits, counters, holdings), what it costs (prices), what happened
(ledger, totals).

Money is whole nano-dollars (1e-9 USD). The ledger and its totals name team, key and provider
by id and as text, without foreign keys: history stays when a name goes.
"""

from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import Q

from billing.alert_models import Alert as Alert
from billing.alert_models import AlertMark as AlertMark
from billing.pricing import short_usd
from keys.models import ApiKey, Team


class Unit(models.TextChoices):
    REQUESTS = "requests"
    TOKENS = "tokens"
    USD = "usd", "USD"
    CONCURRENT = "concurrent"


class Window(models.TextChoices):
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class Per(models.TextChoices):
    TEAM = "team"
    KEY = "key"
    END_USER = "end_user", "end user"


class Limit(models.Model):
    """A ceiling on one unit in one window, for a team, each of its keys, or each end user.

    Unit, window, per, timezone and owner never change: an edit of them makes a new limit.
    """

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="limits")
    key = models.ForeignKey(
        ApiKey,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="limits",
        help_text="Set for a limit that belongs to one key only.",
    )
    unit = models.CharField(max_length=12, choices=Unit.choices)
    window = models.CharField(
        max_length=8,
        choices=Window.choices,
        blank=True,
        help_text="Empty for concurrent limits, which have no window.",
    )
    per = models.CharField(max_length=8, choices=Per.choices, default=Per.TEAM)
    ceiling = models.BigIntegerField(help_text="Requests, tokens, calls at once, or nano-dollars.")
    soft = models.BooleanField(default=False, help_text="Alerts only; refuses nothing.")
    alert_at = models.JSONField(
        default=list, blank=True, help_text="Shares of the ceiling, such as 0.8."
    )
    timezone = models.CharField(max_length=64, default="UTC")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(ceiling__gte=0), name="ceiling_not_negative"),
            models.CheckConstraint(
                condition=Q(unit="concurrent", window="") | ~Q(unit="concurrent") & ~Q(window=""),
                name="window_unless_concurrent",
            ),
        ]

    def __str__(self) -> str:
        if self.unit == Unit.CONCURRENT:
            amount = f"{self.ceiling:,} calls at once"
        elif self.unit == Unit.USD:
            amount = f"{short_usd(self.ceiling)} USD"
        else:
            amount = f"{self.ceiling:,} {self.unit}"
        window = " in total" if self.window == Window.TOTAL else f" per {self.window}"
        return f"{amount}{window if self.window else ''} for {self.key or self.team}"


class Counter(models.Model):
    """What is taken of one limit by one subject in one period.

    `taken` = ledger of the period + what workers hold (+ excess that a provider reported).
    The period is part of the identity, so a reset is no operation.
    """

    limit = models.ForeignKey(Limit, on_delete=models.CASCADE, related_name="counters")
    subject = models.CharField(
        max_length=256, blank=True, help_text="Empty for a team; a key's id; an end user."
    )
    period_start = models.DateTimeField()
    period_end = models.DateTimeField(null=True, help_text="Null where the window never ends.")
    ceiling = models.BigIntegerField(help_text="A copy of the limit's, kept by a trigger.")
    taken = models.BigIntegerField(default=0)
    recalls = models.BigIntegerField(
        db_default=0, help_text="How often a worker asked the others to give back what idles."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["limit", "subject", "period_start"], name="one_counter_per_period"
            ),
            models.CheckConstraint(condition=Q(taken__gte=0), name="taken_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.taken} of {self.ceiling} since {self.period_start}"


class Worker(models.Model):
    """A gateway process that may hold allowances, and where its journal lies.

    Dead only when the exclusive lock on its journal can be taken, never by time-out: one of
    another folder that is not seen for long lapses, and what it spent stays counted.
    """

    name = models.CharField(max_length=64, unique=True)
    host = models.CharField(max_length=255)
    journal = models.CharField(max_length=255, help_text="File name below DATA_DIR/journal.")
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField(
        null=True, help_text="Null: of a version that does not tell; it never lapses."
    )
    lapsed_at = models.DateTimeField(
        null=True, help_text="When its requests and calls at once were given to others."
    )

    def __str__(self) -> str:
        return self.name


class Holding(models.Model):
    """The part of a counter that one worker holds: idle, reserved, or spent but not yet posted."""

    counter = models.ForeignKey(Counter, on_delete=models.CASCADE, related_name="holdings")
    worker = models.ForeignKey(Worker, on_delete=models.PROTECT, related_name="holdings")
    amount = models.BigIntegerField()
    operation = models.BigIntegerField(
        default=0, help_text="The worker's last take or return: tells whether it was committed."
    )
    answered = models.BigIntegerField(
        db_default=0, help_text="The last of the counter's recalls that this worker has heard."
    )
    running = models.BigIntegerField(
        db_default=0,
        help_text="The most of it that running calls hold; exact when a recall is answered.",
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["counter", "worker"], name="one_holding_per_worker"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="holding_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.amount} held by {self.worker}"


class Price(models.Model):
    """What a model costs from a moment on, in nano-dollars per million tokens. Never edited:
    a new price is a new row with its own `effective_from`.
    """

    provider = models.CharField(max_length=100, blank=True, help_text="A provider's name …")
    kind = models.CharField(max_length=16, blank=True, help_text="… or all providers of a kind.")
    model = models.CharField(max_length=200, help_text="Upstream name; may hold *.")
    effective_from = models.DateTimeField()
    input = models.BigIntegerField()
    cached_input = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    cache_write = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    cache_write_1h = models.BigIntegerField(null=True, blank=True, help_text="Empty: as input.")
    output = models.BigIntegerField()
    above_input_tokens = models.BigIntegerField(
        null=True, blank=True, help_text="Calls with more input than this pay the prices below."
    )
    above_input = models.BigIntegerField(null=True, blank=True)
    above_cached_input = models.BigIntegerField(null=True, blank=True)
    above_cache_write = models.BigIntegerField(null=True, blank=True)
    above_cache_write_1h = models.BigIntegerField(null=True, blank=True)
    above_output = models.BigIntegerField(null=True, blank=True)
    source = models.CharField(max_length=300, blank=True, help_text="Where the figures are from.")
    checked_on = models.DateField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["provider", "kind", "model", "effective_from"],
                name="one_price_per_model_and_moment",
            ),
            models.CheckConstraint(
                condition=Q(provider="") ^ Q(kind=""), name="price_of_a_provider_or_a_kind"
            ),
            models.CheckConstraint(
                condition=Q(input__gte=0) & Q(output__gte=0), name="price_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider or self.kind}/{self.model} from {self.effective_from:%Y-%m-%d}"


class EntryStatus(models.TextChoices):
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    RECOVERED = "recovered"
    CORRECTION = "correction"


class UsageSource(models.TextChoices):
    PROVIDER = "provider"
    ESTIMATED = "estimated"
    RECOVERED = "recovered"
    NONE = "none"


class EntryChangedError(TypeError):
    """Somebody tried to change or delete a ledger entry; append a correction instead."""


class AppendOnly(models.QuerySet["LedgerEntry"]):
    def update(self, **kwargs: Any) -> NoReturn:
        raise EntryChangedError("ledger entries are never changed")

    def delete(self) -> NoReturn:
        raise EntryChangedError("ledger entries are never deleted")


class LedgerEntry(models.Model):
    """One line of what happened. Never changed: a request is entry 0; further paid attempts
    and corrections are entries 1, 2, … of the same request id. Written by `billing.ledger.post`
    alone, which moves the totals and counters with it.
    """

    request_id = models.CharField(max_length=40)
    entry = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(help_text="When the request was admitted.")
    team_id = models.BigIntegerField()
    team = models.CharField(max_length=100)
    key_id = models.BigIntegerField()
    key_name = models.CharField(max_length=100)
    key_prefix = models.CharField(max_length=12)
    end_user = models.CharField(max_length=256, blank=True)
    tags = models.JSONField(default=dict)
    address = models.CharField(max_length=64, help_text="The gateway address called.")
    streamed = models.BooleanField(default=False)
    requested_model = models.CharField(max_length=200)
    provider_id = models.BigIntegerField(null=True)
    provider = models.CharField(max_length=100, blank=True)
    upstream_model = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12, choices=EntryStatus.choices)
    error_code = models.CharField(max_length=64, blank=True)
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    cache_write_1h_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    cost_nano_usd = models.BigIntegerField(null=True, help_text="Null while the price is unknown.")
    usage_source = models.CharField(max_length=12, choices=UsageSource.choices)
    price_version = models.CharField(max_length=20, blank=True, help_text="Id of the price row.")
    cached = models.BooleanField(default=False)
    latency_ms = models.IntegerField(default=0)
    first_byte_ms = models.IntegerField(null=True)
    timezone = models.CharField(
        max_length=64, default="UTC", help_text="The team's, when the request was admitted."
    )
    flags = models.JSONField(default=list, help_text="usage_suspect, beyond_bound, sanitized, …")
    attempts = models.JSONField(default=list, help_text="Every upstream attempt; on entry 0.")
    charges = models.JSONField(
        default=list, help_text="[counter id, amount, excess] it was charged to."
    )

    objects = AppendOnly.as_manager()

    class Meta:
        verbose_name_plural = "ledger entries"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["started_at", "request_id", "entry"], name="each_entry_once"
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["-started_at", "-id"], name="ledger_by_time"),
            models.Index(fields=["team_id", "-started_at"], name="ledger_by_team"),
            models.Index(fields=["request_id"], name="ledger_by_request"),
            models.Index(fields=["id"], condition=Q(cost_nano_usd=None), name="ledger_unpriced"),
        ]

    def __str__(self) -> str:
        return f"{self.request_id}/{self.entry}"

    def save(self, *args: Any, **kwargs: Any) -> None:
        if not self._state.adding:
            raise EntryChangedError("ledger entries are never changed")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise EntryChangedError("ledger entries are never deleted")


class RefusedCall(models.Model):
    """A call that was turned away before any provider was asked. Costs nothing; may be dropped."""

    request_id = models.CharField(max_length=40)
    at = models.DateTimeField()
    team_id = models.BigIntegerField(null=True)
    team = models.CharField(max_length=100, blank=True)
    key_id = models.BigIntegerField(null=True)
    key_name = models.CharField(max_length=100, blank=True)
    end_user = models.CharField(max_length=256, blank=True)
    address = models.CharField(max_length=64)
    requested_model = models.CharField(max_length=200, blank=True)
    code = models.CharField(max_length=64)
    message = models.TextField(help_text="Names the deciding rule.")

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-at", "-id"], name="refused_by_time")]

    def __str__(self) -> str:
        return f"{self.request_id} {self.code}"


class SpendTotal(models.Model):
    """The ledger summed by UTC quarter-hour (every zone's midnight falls on one)."""

    quarter = models.DateTimeField()
    team_id = models.BigIntegerField()
    team = models.CharField(max_length=100)
    key_id = models.BigIntegerField()
    key_name = models.CharField(max_length=100)
    model = models.CharField(max_length=200, help_text="As requested.")
    provider = models.CharField(max_length=100, blank=True)
    upstream_model = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=12)
    requests = models.BigIntegerField(default=0, help_text="Entries numbered 0.")
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    cache_write_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)
    cost_nano_usd = models.BigIntegerField(default=0)
    unpriced_entries = models.BigIntegerField(default=0)
    latency_histogram = models.JSONField(
        default=list, help_text="Requests per latency bucket; see LATENCY_BUCKETS_MS."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=[
                    "quarter",
                    "team_id",
                    "key_id",
                    "model",
                    "provider",
                    "upstream_model",
                    "status",
                ],
                name="one_total_per_quarter",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["team_id", "quarter"], name="spend_by_team")]

    def __str__(self) -> str:
        return f"{self.team} {self.quarter}"


class LabelTotal(models.Model):
    """Daily sums, on the team's calendar, for an end user or for a tag."""

    class Kind(models.TextChoices):
        END_USER = "end_user", "end user"
        TAG = "tag"

    kind = models.CharField(max_length=8, choices=Kind.choices)
    label = models.CharField(max_length=600, help_text="The end user, or name=value.")
    day = models.DateField()
    team_id = models.BigIntegerField()
    requests = models.BigIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cost_nano_usd = models.BigIntegerField(default=0)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["kind", "label", "day", "team_id"], name="one_total_per_label_and_day"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.label} {self.day}"
