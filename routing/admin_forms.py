"""Forms of the provider and model pages; the rules are those of the edits."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminTextareaWidget,
    UnfoldBooleanSwitchWidget,
)

from routing import credentials
from routing.base_urls import DEFAULT_BASE_URLS
from routing.model_edits import check_model
from routing.models import Model, Provider
from routing.provider_edits import check_provider

_OWN_ADDRESSES = ", ".join(f"{kind}: {url}" for kind, url in DEFAULT_BASE_URLS.items() if url)


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A credential typed here is sealed and never comes back; an empty field keeps what is."""

    new_credential = forms.CharField(
        label="Credential",
        required=False,
        widget=UnfoldAdminPasswordWidget(
            attrs={"autocomplete": "new-password"}, render_value=False
        ),
    )
    remove_credential = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="For a server that wants none.",
    )
    add_usual_models = forms.BooleanField(
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="The current models of its kind, under their own names.",
    )

    class Meta:
        model = Provider
        fields: ClassVar = [
            "kind",
            "name",
            "base_url",
            "connect_timeout_seconds",
            "timeout_seconds",
            "stream_idle_timeout_seconds",
            "total_timeout_seconds",
            "on_disconnect",
            "enabled",
        ]
        help_texts: ClassVar = {"base_url": f"Empty for the provider's own ({_OWN_ADDRESSES})."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            shown = credentials.hint(self.instance.credential)
            self.fields["new_credential"].help_text = f"{shown.capitalize()}. Empty keeps it."

    @property
    def credential(self) -> str | None:
        """As `save_provider` takes it."""
        if self.cleaned_data.get("remove_credential"):
            return ""
        return self.cleaned_data.get("new_credential") or None

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out
        if self.errors:
            return
        stored = Provider.objects.filter(pk=self.instance.pk).first()
        try:
            check_provider(self.instance, stored, credential=self.credential)
        except ValidationError as error:
            errors = error.message_dict
            if "credential" in errors:
                errors["new_credential"] = errors.pop("credential")
            self.add_error(None, ValidationError(errors))


class FallbacksField(forms.CharField):
    """A list of model names, one a line."""

    def __init__(self, **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": 3})
        super().__init__(required=False, widget=widget, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        return [name.strip() for name in str(value or "").splitlines() if name.strip()]


class ModelForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    fallbacks = FallbacksField(help_text="Names of other models, one a line, tried in this order.")

    class Meta:
        model = Model
        fields: ClassVar = ["name", "strategy", "fallbacks", "max_attempts", "max_output_tokens"]

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out
        if self.errors:
            return
        try:
            check_model(self.instance)
        except ValidationError as error:
            self.add_error(None, error)
