"""The console's pages for providers and models."""

from functools import partial
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from routing import credentials
from routing.admin_forms import ModelForm, ProviderForm
from routing.models import Model, Provider, Target
from routing.presets import add_usual_models
from routing.provider_check import check_connection
from routing.provider_edits import save_provider

_TIMEOUTS = (
    "connect_timeout_seconds",
    "timeout_seconds",
    "stream_idle_timeout_seconds",
    "total_timeout_seconds",
    "on_disconnect",
)


@admin.register(Provider)
class ProviderAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = ProviderForm
    list_display = ("name", "kind", "address", "credential_shown", "served_models", "enabled")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)
    # A button of the form: it posts, saves what was typed, and then asks the provider.
    actions_submit_line = ("test_connection",)

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        first = ["kind", "name", "base_url", "new_credential"]
        first += ["remove_credential"] if obj and obj.credential else []
        first += ["enabled"] if obj else ["add_usual_models"]
        return [
            (None, {"fields": first}),
            ("Time-outs", {"fields": _TIMEOUTS, "classes": ["collapse"]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> list[str]:
        return ["kind", "name"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        providers: QuerySet[Provider] = super().get_queryset(request)
        return providers.annotate(models=Count("targets__model", distinct=True))

    @display(description="Address")  # type: ignore[untyped-decorator]  # unfold
    def address(self, provider: Provider) -> str:
        return provider.base_url or "its own"

    @display(description="Credential")  # type: ignore[untyped-decorator]  # unfold
    def credential_shown(self, provider: Provider) -> str:
        return credentials.hint(provider.credential)

    @display(description="Models", ordering="models")  # type: ignore[untyped-decorator]  # unfold
    def served_models(self, provider: Provider) -> int:
        return int(getattr(provider, "models", 0))

    def save_model(
        self, request: HttpRequest, obj: Provider, form: ProviderForm, change: bool
    ) -> None:
        save_provider(obj, credential=form.credential)
        if not change and form.cleaned_data.get("add_usual_models"):
            names = add_usual_models(obj)
            messages.success(request, f"Models added: {', '.join(names)}.")
        if not change:
            messages.info(request, _next_step(obj))
        # Saves once more, unchanged, and then runs the button that was pressed.
        super().save_model(request, obj, form, change)

    @action(description="Save and test connection")  # type: ignore[untyped-decorator]  # unfold
    def test_connection(self, request: HttpRequest, obj: Provider) -> None:
        # After the commit: no transaction may stay open while a provider takes its time.
        transaction.on_commit(partial(_tell, request, obj))


def _next_step(provider: Provider) -> str:
    if provider.targets.exists():
        next_step = 'Next: <a href="{}">issue a key</a> and call one of its models.'
        return format_html(next_step, reverse("admin:keys_apikey_add"))
    next_step = 'Next: <a href="{}">add a model</a> that leads to {}.'
    return format_html(next_step, reverse("admin:routing_model_add"), provider.name)


def _tell(request: HttpRequest, provider: Provider) -> None:
    checked = check_connection(provider)
    messages.add_message(request, messages.SUCCESS if checked.ok else messages.ERROR, checked.text)


class TargetInline(TabularInline):  # type: ignore[misc]  # unfold brings no types
    model = Target
    fields = ("provider", "upstream_model", "priority", "weight", "price_as")
    extra = 0
    min_num = 1
    validate_min = True


@admin.register(Model)
class PublicModelAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = ModelForm
    list_display = ("name", "strategy", "goes_to", "fallback_names", "max_output_tokens")
    search_fields = ("name",)
    inlines: ClassVar = [TargetInline]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> list[str]:
        return ["name"] if obj else []

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        models: QuerySet[Model] = super().get_queryset(request)
        return models.prefetch_related("targets__provider")

    @display(description="Goes to")  # type: ignore[untyped-decorator]  # unfold
    def goes_to(self, model: Model) -> str:
        return ", ".join(str(target) for target in model.targets.all())

    @display(description="Fallbacks")  # type: ignore[untyped-decorator]  # unfold
    def fallback_names(self, model: Model) -> str:
        return ", ".join(model.fallbacks)
