"""Alerts as an outbox: recorded first, in the transaction that saw them, and told afterwards."""

from typing import ClassVar
from uuid import uuid4

from django.db import models
from django.db.models import Q


class Alert(models.Model):
    """Something that people should know, recorded once and told at least once."""

    class Kind(models.TextChoices):
        LIMIT = "limit", "share of a limit used"
        LIMIT_SUMMARY = "limit_summary", "many shares of a limit used"
        BEYOND_BOUND = "beyond_bound", "reported use beyond the bound"

    id = models.UUIDField(
        primary_key=True, default=uuid4, editable=False, help_text="The same at every try."
    )
    key = models.CharField(max_length=500, unique=True, help_text="What it is about, once.")
    place = models.CharField(
        max_length=500,
        blank=True,
        db_default="",
        help_text="Whose use of what, in which period: of a limit's alerts.",
    )
    kind = models.CharField(max_length=16, choices=Kind.choices)
    says = models.JSONField(help_text="title and text for people, data for programs.")
    created_at = models.DateTimeField()
    told_by = models.ForeignKey(
        "self",
        on_delete=models.CASCADE,
        null=True,
        help_text="The alert that says this too: of a higher share, or a summary of many.",
    )
    mailed_to = models.JSONField(
        default=list,
        db_default=models.Value([], models.JSONField()),
        help_text="Addresses whose mail was taken.",
    )
    mailed_at = models.DateTimeField(null=True, help_text="When the last address had its mail.")
    posted_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True, help_text="Empty once told, or given up.")
    give_up_at = models.DateTimeField()
    last_error = models.TextField(blank=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["-created_at"], name="alert_by_time"),
            models.Index(fields=["place"], name="alert_by_place"),
            models.Index(
                fields=["next_try_at"], condition=Q(next_try_at__isnull=False), name="alert_due"
            ),
        ]

    def __str__(self) -> str:
        return str(self.says["title"])


class AlertMark(models.Model):
    """How far the ledger and the configuration have been looked at for alerts; one row."""

    ledger_id = models.BigIntegerField(help_text="The last entry looked at.")
    version = models.BigIntegerField(help_text="Of the configuration looked at.")
    looked_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"up to entry {self.ledger_id}"
