"""The console's page of limits, and the limits on the pages of their teams and keys."""

from collections.abc import Sequence
from decimal import Decimal

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display

from billing.admin_forms import FIXED, LimitForm, LimitFormSet
from billing.alert_words import plain
from billing.models import Limit, Per, Unit
from billing.pricing import short_usd
from keys.admin import ApiKeyAdmin, TeamAdmin


@admin.register(Limit)
class LimitAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = LimitForm
    fields = (*FIXED, "ceiling", "alert_at")
    list_display = ("owner", "unit", "window", "counted_for", "shown_ceiling", "effect", "alerts")
    list_display_links = ("owner",)
    list_filter = ("team", "unit", "window", "soft")
    list_select_related = ("team", "key__team")
    ordering = ("team__name", "pk")
    autocomplete_fields = ("team", "key")

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> Sequence[str]:
        return FIXED if obj else ()

    @display(description="Of", ordering="team__name")  # type: ignore[untyped-decorator]  # unfold
    def owner(self, limit: Limit) -> str:
        return str(limit.key or limit.team)

    @display(description="Counted for")  # type: ignore[untyped-decorator]  # unfold
    def counted_for(self, limit: Limit) -> str:
        if limit.per == Per.TEAM:
            return "the key" if limit.key else "the team"
        return f"each {limit.get_per_display().lower()}"

    @display(description="Ceiling", ordering="ceiling")  # type: ignore[untyped-decorator]  # unfold
    def shown_ceiling(self, limit: Limit) -> str:
        usd = limit.unit == Unit.USD
        return f"{short_usd(limit.ceiling)} USD" if usd else f"{limit.ceiling:,}"

    @display(description="When reached", ordering="soft")  # type: ignore[untyped-decorator]  # unfold
    def effect(self, limit: Limit) -> str:
        return "only alerts" if limit.soft else "refuses"

    @display(description="Alerts at")  # type: ignore[untyped-decorator]  # unfold
    def alerts(self, limit: Limit) -> str:
        shares = limit.alert_at or ([1] if limit.soft else [])
        return ", ".join(f"{plain(Decimal(str(share)) * 100)} %" for share in sorted(shares)) or "–"


class LimitInline(TabularInline):  # type: ignore[misc]  # unfold brings no types
    """A team's own limits, on the team's page."""

    model = Limit
    form = LimitForm
    formset = LimitFormSet
    fields: tuple[str, ...] = ("unit", "window", "per", "ceiling", "soft", "alert_at")
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[Limit]:
        limits: QuerySet[Limit] = super().get_queryset(request)
        return limits.filter(key=None).order_by("pk")


class KeyLimitInline(LimitInline):
    """A key's own limits, on the key's page."""

    fk_name = "key"
    fields = ("unit", "window", "ceiling", "soft", "alert_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Limit]:
        limits: QuerySet[Limit] = super(LimitInline, self).get_queryset(request)
        return limits.order_by("pk")


TeamAdmin.inlines.append(LimitInline)
ApiKeyAdmin.inlines.append(KeyLimitInline)
