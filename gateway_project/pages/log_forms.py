"""What the two logs can be narrowed to."""

from datetime import datetime
from typing import Any

from django import forms

from billing.call_log import LogFilter
from billing.models import EntryStatus
from gateway_project.pages.scope import ScopeForm
from keys.models import ApiKey
from routing.models import Model, Provider


def _moment(label: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        required=False,
        label=label,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


def _name(most: int, *, names: str = "", label: str | None = None) -> forms.CharField:
    """A name to be typed; `names` is the list of suggestions that the page brings along."""
    widget = forms.TextInput(attrs={"list": names} if names else {})
    return forms.CharField(required=False, max_length=most, label=label, widget=widget)


class LogForm(ScopeForm):
    """What calls and refused calls have in common."""

    key = forms.TypedChoiceField(required=False, coerce=int)
    model = _name(200, names="model-names")
    end_user = _name(256)
    request_id = _name(40, label="Request id")
    start = _moment("From")
    end = _moment("Before")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        keys = ApiKey.objects.values_list("pk", "team__name", "name")
        self.offer("key", "All keys", ((pk, f"{team}/{name}") for pk, team, name in keys))
        self.model_names = list(Model.objects.values_list("name", flat=True))

    def wanted(self) -> LogFilter:
        return LogFilter(
            team_id=self.scope().team_id,
            key_id=self.given("key") or None,
            model=self.given("model"),
            provider=self.given("provider"),
            status=self.given("status"),
            end_user=self.given("end_user"),
            request_id=self.given("request_id"),
            start=self._instant("start"),
            end=self._instant("end"),
        )

    def _instant(self, field: str) -> datetime | None:
        # What was typed is what a clock of the chosen zone shows.
        moment = self.given(field)
        return moment.replace(tzinfo=self.scope().zone) if moment else None


class CallsForm(LogForm):
    provider = _name(100, names="provider-names")
    status = forms.ChoiceField(required=False)
    field_order = ("team", "key", "model", "provider", "status", "end_user", "request_id")

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.offer("status", "Any", EntryStatus.choices)
        self.provider_names = list(Provider.objects.values_list("name", flat=True))


class RefusedForm(LogForm):
    status = _name(64, label="Code")
    field_order = ("team", "key", "model", "status", "end_user", "request_id")
