"""What the pages of API keys and staff tokens share: shown once, revoked, never deleted."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import action as list_action
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from unfold.admin import ModelAdmin
from unfold.decorators import action, display
from unfold.enums import ActionVariant

from keys.models import User
from keys.shown_once import keep_until_answer, secret_page


@display(  # type: ignore[untyped-decorator]  # unfold
    description="State",
    label={"live": "success", "expired": "warning", "revoked": "danger"},
)
def state_column(admin: Any, obj: Any) -> str:
    """Whether what was handed out still opens anything."""
    if obj.revoked_at is not None:
        return "revoked"
    expires_at = getattr(obj, "expires_at", None)
    return "expired" if expires_at is not None and expires_at <= timezone.now() else "live"


class HandedOutAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    """Pages of a model with `revoked_at` whose secret only its creation shows."""

    title_once: str
    # A template that says, below the secret, what to do with it.
    once_copied = ""
    put_secret: Callable[..., str]
    revoke: Callable[[Any, datetime], None]
    actions = ("revoke_selected",)
    actions_detail = ("revoke_one",)

    state = state_column

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            keep_until_answer(request, self.put_secret(obj))
        super().save_model(request, obj, form, change)

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        return secret_page(
            request,
            {
                **self.admin_site.each_context(request),
                "once_copied": self.once_copied,
                "gateway_url": settings.PUBLIC_URL,
            },
            title=f"{self.title_once} {obj}",
            done_url=self._list_url(),
        )

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        if getattr(obj, "revoked_at", None) is not None:
            return False
        return bool(super().has_change_permission(request, obj))

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return isinstance(request.user, User) and request.user.is_superuser

    def get_actions_detail(self, request: HttpRequest, object_id: int) -> list[Any]:
        live: QuerySet[Any] = self.model.objects.filter(pk=object_id, revoked_at=None)
        shown: list[Any] = super().get_actions_detail(request, object_id)
        return shown if live.exists() else []

    @list_action(description="Revoke the selected ones", permissions=["revoke"])
    def revoke_selected(self, request: HttpRequest, chosen: QuerySet[Any]) -> None:
        live = list(chosen.filter(revoked_at=None))
        for obj in live:
            self._revoke(request, obj)
        messages.success(request, f"Revoked: {len(live)}.")

    @action(  # type: ignore[untyped-decorator]  # unfold
        description="Revoke",
        permissions=["revoke"],
        url_path="revoke",
        variant=ActionVariant.DANGER,
    )
    def revoke_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        obj = self.get_object(request, object_id)
        if obj is None:
            raise Http404
        if request.method == "POST":
            self._revoke(request, obj)
            messages.success(request, f"{obj} is revoked.")
            return HttpResponseRedirect(self._list_url())
        return confirm_page(
            request,
            self.admin_site.each_context(request),
            question=f"Revoke {obj} ({obj.prefix}…)? Programs that use it stop within a second, "
            "and it cannot be brought back.",
            yes="Revoke",
            back_url=self._list_url(),
        )

    def _revoke(self, request: HttpRequest, obj: Any) -> None:
        self.revoke(obj, timezone.now())
        self.log_change(request, obj, "Revoked.")

    def _list_url(self) -> str:
        return reverse(f"admin:keys_{self.opts.model_name}_changelist")


def confirm_page(
    request: HttpRequest, context: Mapping[str, Any], *, question: str, yes: str, back_url: str
) -> TemplateResponse:
    """Ask before something that cannot be undone; the answer is a POST to the same address."""
    words = {"title": yes, "question": question, "yes": yes, "back_url": back_url}
    return TemplateResponse(request, "keys/confirm.html", {**context, **words})
