"""The console's pages for users, teams, API keys and staff tokens."""

from typing import Any, ClassVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import action, display

from keys.accounts import (
    delete_account,
    is_last_administrator,
    save_account,
    set_administrator,
    set_one_time_password,
)
from keys.admin_forms import ApiKeyForm, TeamForm, UserForm
from keys.handed_out_admin import HandedOutAdmin, confirm_page, state_column
from keys.issuing import put_secret, put_staff_secret, revoke_key, revoke_staff_token
from keys.model_names import hints
from keys.models import ApiKey, StaffToken, Team, User
from keys.shown_once import keep_until_answer, secret_page

# Who may do what hangs on being an administrator, not on Django's groups.
admin.site.unregister(Group)


class KeysInline(TabularInline):  # type: ignore[misc]  # unfold brings no types
    """A team's keys, on the team's page: to look at, each with a link to its own page."""

    model = ApiKey
    fields = readonly_fields = ("link", "prefix", "state", "expires_at", "created_at")
    ordering = ("revoked_at", "name")
    can_delete = False
    extra = 0
    state = state_column

    @display(description="Name")  # type: ignore[untyped-decorator]  # unfold
    def link(self, key: ApiKey) -> str:
        return format_html(
            '<a href="{}">{}</a>', reverse("admin:keys_apikey_change", args=[key.pk]), key.name
        )

    def has_add_permission(self, request: HttpRequest, obj: Team | None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        return False


@admin.register(Team)
class TeamAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = TeamForm
    list_display = ("name", "timezone", "live_keys", "created_at")
    search_fields = ("name",)
    # Other rooms append what belongs to a team, such as its limits, from their own admin.py.
    inlines: ClassVar[list[Any]] = [KeysInline]

    def get_inlines(self, request: HttpRequest, obj: Team | None) -> list[Any]:
        # A team that is being made has no keys to look at.
        return [inline for inline in self.inlines if obj or inline is not KeysInline]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        teams: QuerySet[Team] = super().get_queryset(request)
        return teams.annotate(live=Count("keys", filter=Q(keys__revoked_at=None)))

    @display(description="Live keys", ordering="live")  # type: ignore[untyped-decorator]  # unfold
    def live_keys(self, team: Team) -> int:
        return int(getattr(team, "live", 0))

    def save_model(self, request: HttpRequest, obj: Team, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for hint in hints(obj.allowed_models or ()):
            messages.warning(request, hint)
        if not change:
            add_key = f"{reverse('admin:keys_apikey_add')}?{urlencode({'team': obj.pk})}"
            next_step = 'Next: <a href="{}">issue a key</a> to the team {}.'
            messages.info(request, format_html(next_step, add_key, obj.name))

    def has_delete_permission(self, request: HttpRequest, obj: Team | None = None) -> bool:
        # What a team's keys spent refers to it: it goes only when it never had any.
        if obj is None or obj.keys.exists():
            return False
        return bool(super().has_delete_permission(request, obj))


@admin.register(ApiKey)
class ApiKeyAdmin(HandedOutAdmin):
    form = ApiKeyForm
    list_display = ("name", "team", "prefix", "state", "expires_at", "created_at")
    list_filter = ("team", ("revoked_at", admin.EmptyFieldListFilter))
    list_select_related = ("team",)
    search_fields = ("name", "prefix", "team__name")
    autocomplete_fields = ("team",)
    inlines: ClassVar[list[Any]] = []
    title_once = "The secret of the new API key"
    once_copied = "keys/use_key.html"
    put_secret = staticmethod(put_secret)
    revoke = staticmethod(revoke_key)

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> list[str]:
        return ["team", "prefix", "created_at", "revoked_at"] if obj else []

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for hint in hints(obj.allowed_models or ()):
            messages.warning(request, hint)


@admin.register(StaffToken)
class StaffTokenAdmin(HandedOutAdmin):
    fields = ("user", "name")
    list_display = ("name", "user", "prefix", "state", "created_at")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    title_once = "The new staff token"
    put_secret = staticmethod(put_staff_secret)
    revoke = staticmethod(revoke_staff_token)

    def has_change_permission(self, request: HttpRequest, obj: StaffToken | None = None) -> bool:
        return False


@admin.register(User)
class UserAdmin(ModelAdmin):  # type: ignore[misc]  # unfold brings no types
    form = UserForm
    list_display = ("username", "email", "is_superuser", "is_active", "last_login")
    search_fields = ("username", "email")
    actions = None
    actions_detail = ("reset_password",)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        set_administrator(obj, obj.is_superuser)
        if not change:
            keep_until_answer(request, set_one_time_password(obj))
        _allowed(save_account, obj)

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        return self._password_page(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        if obj is not None and is_last_administrator(obj):
            return False
        return bool(super().has_delete_permission(request, obj))

    def delete_model(self, request: HttpRequest, obj: User) -> None:
        _allowed(delete_account, obj)

    @action(  # type: ignore[untyped-decorator]  # unfold
        description="Reset password", permissions=["change"], url_path="reset-password"
    )
    def reset_password(self, request: HttpRequest, object_id: str) -> HttpResponse:
        user = User.objects.filter(pk=object_id).first()
        if user is None:
            return HttpResponseRedirect(reverse("admin:keys_user_changelist"))
        if request.method == "POST":
            keep_until_answer(request, set_one_time_password(user))
            user.save()
            self.log_change(request, user, "Reset the password.")
            return self._password_page(request, user)
        return confirm_page(
            request,
            self.admin_site.each_context(request),
            question=f"Give {user} a new one-time password? The present one stops at once.",
            yes="Reset password",
            back_url=reverse("admin:keys_user_change", args=[user.pk]),
        )

    def _password_page(self, request: HttpRequest, user: User) -> HttpResponse:
        return secret_page(
            request,
            self.admin_site.each_context(request),
            title=f"One-time password of {user}",
            done_url=reverse("admin:keys_user_changelist"),
        )


def _allowed(rule: Any, user: User) -> None:
    # The form has checked it; two administrators at the same moment come here.
    try:
        rule(user)
    except ValidationError as error:
        raise PermissionDenied(" ".join(error.messages)) from error
