"""The console's page of alerts: what, when, and whether each channel has told it."""

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.decorators import action, display

from billing.alert_delivery import MAIL, TOLD_AT, WEBHOOK, send_again, untold
from billing.models import Alert
from billing.read_only_admin import ReadOnlyAdmin


class MessageFilter(admin.SimpleListFilter):
    """Thousands may be in summaries; what was sent is then a few."""

    title = "message"
    parameter_name = "message"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("own", "of its own"), ("other", "with another alert")]

    def queryset(self, request: HttpRequest, alerts: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() is None:
            return alerts
        return alerts.filter(told_by__isnull=self.value() == "own")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    nothing_yet = "One appears when the use of a limit reaches a share that it alerts at."
    list_display = ("found", "title", "mailed", "posted", "last_error")
    list_display_links = ("title",)
    list_filter = (MessageFilter, "kind")
    list_select_related = ("told_by",)
    # Of one look, limit by limit and the highest share first.
    ordering = ("-created_at", "-key")
    actions = ("send_again",)
    fields = (
        "title",
        "text",
        "found",
        "mailed",
        "posted",
        "told_by",
        "attempts",
        "next_try_at",
        "last_error",
    )
    readonly_fields: ClassVar = list(fields)

    @display(description="What")  # type: ignore[untyped-decorator]  # unfold
    def title(self, alert: Alert) -> str:
        return str(alert)

    @display(description="Found", ordering="created_at")  # type: ignore[untyped-decorator]  # unfold
    def found(self, alert: Alert) -> str:
        return shown(alert.created_at)

    @display(description="Text")  # type: ignore[untyped-decorator]  # unfold
    def text(self, alert: Alert) -> str:
        return str(alert.says["text"])

    @display(description="Mailed")  # type: ignore[untyped-decorator]  # unfold
    def mailed(self, alert: Alert) -> str:
        state = told_state(alert, MAIL)
        lacking = [one for one in settings.ALERT_EMAILS if one not in alert.mailed_to]
        # Who has it already is not asked again.
        in_part = state in ("waiting", "failed") and alert.mailed_to and lacking
        return f"{state} for {', '.join(lacking)}" if in_part else state

    @display(description="Posted")  # type: ignore[untyped-decorator]  # unfold
    def posted(self, alert: Alert) -> str:
        return told_state(alert, WEBHOOK)

    @action(description="Send again what failed")  # type: ignore[untyped-decorator]  # unfold
    def send_again(self, request: HttpRequest, alerts: QuerySet[Alert]) -> None:
        now = timezone.now()
        sent = sum(send_again(alert, now) for alert in alerts)
        messages.info(request, f"{sent} of {len(alerts)} will be sent again within a minute.")


def told_state(alert: Alert, channel: str) -> str:
    """When a channel told an alert, or why it did not."""
    told_at = getattr(alert, TOLD_AT[channel])
    if told_at is not None:
        return shown(told_at)
    if alert.told_by is not None:
        summed_up = alert.told_by.kind == Alert.Kind.LIMIT_SUMMARY
        return "in a summary" if summed_up else "with a higher share"
    if channel not in untold(alert):
        return "–"
    if alert.next_try_at is not None:
        return "waiting"
    return "failed" if alert.last_error else "not sent"


def shown(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
