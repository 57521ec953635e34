"""The console's page of limits, and the limits on the pages of their teams and keys."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.views import ChangeList

from billing.admin_forms import FIXED, LimitForm, LimitFormSet
from billing.alert_words import plain
from billing.limit_use import standings
from billing.models import Limit, Per, Unit
from billing.pricing import short_usd
from keys.admin import ApiKeyAdmin, TeamAdmin


class LimitList(ChangeList):  # type: ignore[misc]  # unfold brings no types
    """A page of the list, with how each of its limits stands; read for all of them together."""

    result_list: Any

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        limits: Any = list(self.result_list)
        standing = standings(limits, timezone.now())
        for limit in limits:
            limit.standing = standing[limit.pk]
        self.result_list = limits


@admin.register(Limit)
class LimitAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = LimitForm
    change_form_outer_before_template = "console/limit_standing.html"
    fields = (*FIXED, "ceiling", "alert_at")
    list_display = (
        "owner",
        "unit",
        "window",
        "counted_for",
        "shown_ceiling",
        "used_now",
        "effect",
        "alerts",
    )
    list_display_links = ("owner",)
    list_filter = ("team", "unit", "window", "soft")
    list_select_related = ("team", "key__team")
    ordering = ("team__name", "pk")
    autocomplete_fields = ("team", "key")

    class Media:
        css: ClassVar = {"all": ("gateway_project/console.css",)}

    def get_readonly_fields(self, request: HttpRequest, obj: Limit | None = None) -> Sequence[str]:
        return FIXED if obj else ()

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[LimitList]:
        return LimitList

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        limit = self.get_object(request, object_id)
        if limit is not None:
            standing = standings([limit], timezone.now())[limit.pk]
            extra_context = {
                **(extra_context or {}),
                "standing": standing,
                "zone": limit.timezone,
            }
        response: HttpResponse = super().change_view(request, object_id, form_url, extra_context)
        return response

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

    @display(description="Used now")  # type: ignore[untyped-decorator]  # unfold
    def used_now(self, limit: Limit) -> str:
        standing = getattr(limit, "standing", None)
        return render_to_string("console/limit_cell.html", {"standing": standing})

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
