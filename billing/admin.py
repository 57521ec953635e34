"""The console's pages for prices; the ledger, its totals and the refusals to read."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import display

from billing.admin_forms import PriceForm
from billing.alert_admin import AlertAdmin as AlertAdmin
from billing.limit_admin import LimitAdmin as LimitAdmin
from billing.models import LedgerEntry, Price, RefusedCall, SpendTotal
from billing.price_book import FIGURES
from billing.price_edits import BEGINNING, set_price
from billing.pricing import format_usd, short_usd
from billing.read_only_admin import ReadOnlyAdmin

UNKNOWN = "unknown"


@admin.register(Price)
class PriceAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    """Prices are added, never changed: the ledger points at them."""

    form = PriceForm
    list_display = (
        "model",
        "owner",
        "begins",
        "usd_input",
        "usd_cached_input",
        "usd_output",
        "source",
    )
    list_display_links = ("model",)
    list_filter = ("kind", "provider")
    search_fields = ("model", "provider", "kind")
    ordering = ("model", "provider", "kind", "-effective_from")
    actions = None

    def get_fields(self, request: HttpRequest, obj: Price | None = None) -> list[str]:
        if obj is None:
            return ["provider", "kind", "model", "effective_from", *FIGURES, "source"]
        money = [f if f == "above_input_tokens" else f"usd_{f}" for f in FIGURES]
        return ["provider", "kind", "model", "begins", *money, "source", "checked_on", "created_at"]

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Price, form: Any, change: bool) -> None:
        row = set_price(
            form.figures(),
            provider=obj.provider,
            kind=obj.kind,
            model=obj.model,
            effective_from=obj.effective_from,
            source=obj.source,
            now=timezone.now(),
        )
        if row is None:
            messages.info(request, "These figures hold already; nothing had to be added.")
        # What was stored, or what holds: the page goes on with a row that exists.
        named = Price.objects.filter(provider=obj.provider, kind=obj.kind, model=obj.model)
        stored = row or named.order_by("-effective_from")[0]
        obj.pk, obj.effective_from = stored.pk, stored.effective_from

    @display(description="Provider or kind")  # type: ignore[untyped-decorator]  # unfold
    def owner(self, price: Price) -> str:
        return price.provider or f"all of kind {price.kind}"

    @display(description="From", ordering="effective_from")  # type: ignore[untyped-decorator]  # unfold
    def begins(self, price: Price) -> str:
        begins = price.effective_from
        return "the beginning" if begins == BEGINNING else f"{begins:%Y-%m-%d %H:%M} UTC"


def _usd_column(figure: str) -> Any:
    """A read-only column with a figure in dollars per million tokens."""

    def shown(self: PriceAdmin, price: Price) -> str:
        nano: int | None = getattr(price, figure)
        return "–" if nano is None else short_usd(nano)

    return display(description=f"{figure.replace('_', ' ')} USD/Mtok".capitalize())(shown)


for _figure in FIGURES:
    if _figure != "above_input_tokens":
        setattr(PriceAdmin, f"usd_{_figure}", _usd_column(_figure))


@admin.register(LedgerEntry)
class LedgerEntryAdmin(ReadOnlyAdmin):
    nothing_yet = "A call is recorded when it has ended."
    list_display = (
        "started_at",
        "team",
        "key_name",
        "requested_model",
        "provider",
        "status",
        "input_tokens",
        "output_tokens",
        "cost",
        "request_id",
    )
    list_display_links = ("request_id",)
    list_filter = ("status", "usage_source")
    search_fields = ("request_id__exact",)
    search_help_text = "A request id, whole."
    ordering = ("-started_at", "-id")
    exclude = ("cost_nano_usd",)
    readonly_fields: ClassVar = ["cost"]

    @display(description="Cost USD")  # type: ignore[untyped-decorator]  # unfold
    def cost(self, entry: LedgerEntry) -> str:
        nano = entry.cost_nano_usd
        return UNKNOWN if nano is None else format_usd(nano)


@admin.register(SpendTotal)
class SpendTotalAdmin(ReadOnlyAdmin):
    nothing_yet = "They are summed up from the ledger."
    list_display = (
        "quarter",
        "team",
        "key_name",
        "model",
        "provider",
        "status",
        "requests",
        "cost",
    )
    list_filter = ("status",)
    ordering = ("-quarter", "-id")

    @display(description="Cost USD")  # type: ignore[untyped-decorator]  # unfold
    def cost(self, total: SpendTotal) -> str:
        unknown = total.unpriced_entries > 0 and not total.cost_nano_usd
        return UNKNOWN if unknown else format_usd(total.cost_nano_usd)


@admin.register(RefusedCall)
class RefusedCallAdmin(ReadOnlyAdmin):
    nothing_yet = "One appears when a call is refused before it reaches a provider."
    list_display = ("at", "team", "key_name", "requested_model", "code", "message", "request_id")
    list_display_links = ("request_id",)
    search_fields = ("request_id__exact",)
    search_help_text = "A request id, whole."
    ordering = ("-at", "-id")
