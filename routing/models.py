"""Where a request can go: providers with their credentials, public models and their targets."""

from typing import ClassVar

from django.db import models


class Kind(models.TextChoices):
    OPENAI = "openai", "OpenAI or compatible"
    ANTHROPIC = "anthropic", "Anthropic"
    DEMO = "demo", "Demo (built in)"


class Provider(models.Model):
    """A configured account at an upstream. Its name never changes: prices and the ledger use it."""

    class OnDisconnect(models.TextChoices):
        CANCEL = "cancel", "close the upstream at once"
        DRAIN = "drain", "read on to the usage, bounded"

    name = models.CharField(max_length=100, unique=True)
    kind = models.CharField(max_length=16, choices=Kind.choices)
    base_url = models.CharField(max_length=500, blank=True, help_text="Empty: the provider's own.")
    credential = models.TextField(
        blank=True, editable=False, help_text="Encrypted; bound to the base URL's origin."
    )
    connect_timeout_seconds = models.FloatField(default=2)
    timeout_seconds = models.FloatField(default=60, help_text="To the answer's first byte.")
    stream_idle_timeout_seconds = models.FloatField(default=60)
    total_timeout_seconds = models.FloatField(default=600)
    on_disconnect = models.CharField(
        max_length=8, choices=OnDisconnect.choices, default=OnDisconnect.CANCEL
    )
    enabled = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Model(models.Model):
    """A name that callers use, or a pattern of names (`gpt-*`)."""

    class Strategy(models.TextChoices):
        PRIORITY = "priority"
        WEIGHTED = "weighted"
        LOWEST_LATENCY = "lowest_latency", "lowest latency"
        LOWEST_COST = "lowest_cost", "lowest cost"

    name = models.CharField(max_length=200, unique=True)
    strategy = models.CharField(max_length=16, choices=Strategy.choices, default=Strategy.PRIORITY)
    fallbacks = models.JSONField(
        default=list, blank=True, help_text="Other model names, tried in this order."
    )
    max_attempts = models.PositiveSmallIntegerField(
        default=3, help_text="Upstream attempts in all, fallbacks included."
    )
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Target(models.Model):
    """One place where a model's requests may go."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="targets")
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="targets")
    upstream_model = models.CharField(max_length=200, help_text="* passes the caller's name on.")
    priority = models.PositiveSmallIntegerField(default=1, help_text="Lowest first.")
    weight = models.PositiveSmallIntegerField(default=1)
    price_as = models.CharField(
        max_length=200, blank=True, help_text="The model whose price applies, if not its own."
    )

    class Meta:
        ordering: ClassVar = ["priority", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["model", "provider", "upstream_model"], name="each_target_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.upstream_model}"
