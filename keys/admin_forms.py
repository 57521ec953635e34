"""Forms of the admin pages: lists and tags are typed as lines, not as JSON."""

from typing import Any, ClassVar, cast

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminTextareaWidget

from keys.accounts import LAST_ADMINISTRATOR, is_last_administrator
from keys.issuing import check_name
from keys.models import ApiKey, Team, User
from keys.validation import check_expiry, timezone_names


class LinesField(forms.CharField):
    """A list of texts, one a line; commas part them too."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}), **kwargs
        )

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return [
            line.strip() for line in str(value or "").replace(",", "\n").split("\n") if line.strip()
        ]


class NamesField(LinesField):
    """The same, where an empty list means no restriction at all."""

    def to_python(self, value: Any) -> Any:
        return super().to_python(value) or None


class TagsField(LinesField):
    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, dict):
            return "\n".join(f"{name}={text}" for name, text in value.items())
        return value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value
        tags = {}
        for line in super().to_python(value):
            name, equals, text = line.partition("=")
            if not equals:
                raise ValidationError(f"“{line}” is no tag: write name=value.")
            tags[name.strip()] = text.strip()
        return tags


class TeamForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    timezone = forms.ChoiceField(
        initial="UTC",
        choices=lambda: [(name, name) for name in timezone_names()],
        widget=UnfoldAdminSelect2Widget,
        help_text="Days, weeks and months begin in it.",
    )
    allowed_models = NamesField(
        help_text="Model names its keys may call, one a line; * is allowed. Empty: all models."
    )

    class Meta:
        model = Team
        fields: ClassVar = ["name", "timezone", "allowed_models"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        present = self.instance.timezone
        if present not in timezone_names():
            # Else the first of the list would be chosen, and the team move without a word.
            zones = [(name, name) for name in (present, *timezone_names())]
            cast(forms.ChoiceField, self.fields["timezone"]).choices = zones


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    allowed_models = NamesField(
        help_text="Model names it may call, one a line; * is allowed. Empty: all of the team's."
    )
    allowed_ips = LinesField(
        label="Allowed addresses",
        help_text="Addresses or networks it may be used from, one a line. Empty: any.",
    )
    tags = TagsField(help_text="name=value, one a line; every call of the key carries them.")

    class Meta:
        model = ApiKey
        fields: ClassVar = ["team", "name", "expires_at", "allowed_models", "allowed_ips", "tags"]

    def clean_expires_at(self) -> Any:
        expires_at = self.cleaned_data["expires_at"]
        if "expires_at" in self.changed_data:
            check_expiry(expires_at, timezone.now())
        return expires_at

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        team = cleaned.get("team") or (self.instance.team if self.instance.pk else None)
        if team and cleaned.get("name"):
            check_name(team, cleaned["name"], self.instance.pk)
        return cleaned


class UserForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    class Meta:
        model = User
        fields: ClassVar = [
            "username",
            "first_name",
            "last_name",
            "email",
            "is_superuser",
            "is_active",
        ]
        labels: ClassVar = {"is_superuser": "Administrator", "is_active": "May sign in"}
        help_texts: ClassVar = {
            "is_superuser": "Administrators do everything; for now only they can sign in.",
            "is_active": "Switch it off instead of deleting an account.",
        }

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        stays = cleaned.get("is_superuser") and cleaned.get("is_active")
        if self.instance.pk and not stays and is_last_administrator(self.instance):
            raise ValidationError(LAST_ADMINISTRATOR)
        return cleaned
