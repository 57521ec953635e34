"""Forms of the admin pages: money is typed in dollars, whatever it is stored in."""

from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.forms.models import construct_instance
from unfold.widgets import UnfoldAdminSplitDateTimeWidget, UnfoldAdminTextInputWidget

from billing.ceilings import parse_ceiling, show_ceiling
from billing.limit_edits import (
    TWIN,
    LimitIdentity,
    check_limit,
    identity_of,
    refuse_twin,
    window_problem,
)
from billing.models import Limit, Price
from billing.price_book import FIGURES
from billing.price_edits import InvalidPriceError, check_price
from billing.pricing import Price as Figures
from billing.pricing import parse_usd, short_usd

# What a limit counts, and whether it refuses, never changes: that would be another limit.
FIXED = ("team", "key", "unit", "window", "per", "soft")


class UsdField(forms.CharField):
    """Dollars as a decimal text, nano-dollars inside; empty is None."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("required", False)
        super().__init__(
            widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}), **kwargs
        )

    def prepare_value(self, value: Any) -> Any:
        return short_usd(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        if value is None or isinstance(value, int):
            return value
        text = str(value).strip()
        if not text:
            return None
        try:
            return parse_usd(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error


class SharesField(forms.CharField):
    """Shares of a ceiling, typed as `0.5, 0.8`."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, widget=UnfoldAdminTextInputWidget(), **kwargs)

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(map(str, value)) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        if isinstance(value, list):
            return value
        try:
            return [float(part) for part in str(value or "").split(",") if part.strip()]
        except ValueError as error:
            raise ValidationError("Write shares such as 0.5, 0.8, 1.") from error


class LimitForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    ceiling = forms.CharField(
        widget=UnfoldAdminTextInputWidget(),
        help_text="US dollars such as 100.00 for a budget, else a whole number.",
    )
    alert_at = SharesField(
        help_text="Shares of the ceiling to alert at, such as 0.5, 0.8, 1. Empty: at none, or at 1 "
        "if it only alerts."
    )

    class Meta:
        model = Limit
        fields: ClassVar = [*FIXED, "ceiling", "alert_at"]
        labels: ClassVar = {"soft": "Only alert"}
        help_texts: ClassVar = {
            "key": "For a limit of this key alone.",
            "unit": "Concurrent: calls at once.",
            "window": "Days, weeks and months begin in the team's time zone; a total never resets. "
            "Empty for concurrent.",
            "per": "Whether the team shares it, or each of its keys or end users has one.",
            "soft": "Refuses nothing: calls go on beyond the ceiling.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "window" in self.fields:
            self.fields["window"].required = False
        if self.instance.pk:
            self.initial["ceiling"] = show_ceiling(self.instance.unit, self.instance.ceiling)
            for name in FIXED:
                if name in self.fields:
                    self.fields[name].disabled = True

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        unit = self.instance.unit if self.instance.pk else cleaned.get("unit")
        if unit and "ceiling" in cleaned:
            try:
                cleaned["ceiling"] = parse_ceiling(unit, cleaned["ceiling"].strip())
            except ValueError as error:
                self.add_error("ceiling", _sentence(str(error)))
        says = window_problem(unit, cleaned.get("window", "")) if unit else ""
        if says and "window" in cleaned and not self.instance.pk:
            # Beside a wrong ceiling too: a field that is told wrong spares people the words of
            # the database's own check.
            self.add_error("window", _sentence(says))
        if not self.errors:
            self._check_limit()
        return cleaned

    def _check_limit(self) -> None:
        limit = construct_instance(self, self.instance, list(self.fields))
        if limit.key is not None and limit.team_id is None:
            limit.team = limit.key.team
        try:
            check_limit(limit)
            if not limit.pk and limit.team_id is not None:
                refuse_twin(limit)
        except ValidationError as error:
            self.add_error(None, error)

    def save(self, commit: bool = True) -> Any:
        # Only now: a team that is made on the same page is known with its zone.
        if not self.instance.pk:
            self.instance.timezone = self.instance.team.timezone
        return super().save(commit)


def _sentence(says: str) -> str:
    return f"{says[:1].upper()}{says[1:]}."


class LimitFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]  # not generic at run time
    """The limits on the page of their owner: no two of the new ones may be the same either."""

    def clean(self) -> None:
        super().clean()
        seen: set[LimitIdentity] = set()
        for form in self.extra_forms:
            if form.is_valid() and form.has_changed():
                identity = identity_of(form.instance)
                if identity in seen:
                    form.add_error(None, ValidationError(TWIN))
                seen.add(identity)


class PriceForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    effective_from = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget(),
        help_text="UTC. Empty: from now on, or for all calls so far if it is the first price.",
    )

    input = UsdField(required=True)
    cached_input = UsdField(help_text="Empty: as input.")
    cache_write = UsdField(help_text="Empty: as input.")
    cache_write_1h = UsdField(label="Cache write, 1 hour", help_text="Empty: as input.")
    output = UsdField(required=True)
    above_input = UsdField(help_text="Empty: as input.")
    above_cached_input = UsdField(help_text="Empty: as above input.")
    above_cache_write = UsdField(help_text="Empty: as above input.")
    above_cache_write_1h = UsdField(
        label="Above cache write, 1 hour", help_text="Empty: as above input."
    )
    above_output = UsdField(help_text="Empty: as output.")

    class Meta:
        model = Price
        fields: ClassVar = ["provider", "kind", "model", "effective_from", *FIGURES, "source"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                check_price(
                    self.figures(),
                    provider=cleaned["provider"],
                    kind=cleaned["kind"],
                    model=cleaned["model"],
                )
            except InvalidPriceError as error:
                self.add_error(error.field, f"{error.message.capitalize()}.")
        return cleaned

    def figures(self) -> Figures:
        return Figures(id=0, **{figure: self.cleaned_data[figure] for figure in FIGURES})
