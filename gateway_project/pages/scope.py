"""Whose calls a page is about, and on which calendar: the choice that all pages share."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast
from zoneinfo import ZoneInfo

from django import forms

from keys.models import Team


@dataclass(frozen=True, slots=True)
class Scope:
    """One team or all of them (None, and an empty name), in a time zone."""

    team_id: int | None
    team: str
    zone: ZoneInfo


class ScopeForm(forms.Form):
    """Read from the address of the page. What is wrong is told and left out."""

    team = forms.ChoiceField(required=False)
    timezone = forms.ChoiceField(required=False, label="Time zone")

    def __init__(self, data: Any) -> None:
        super().__init__(data, label_suffix="", use_required_attribute=False)
        self._teams = {team.name: team for team in Team.objects.all()}
        zones = {"UTC", *(team.timezone for team in self._teams.values())}
        self.offer("team", "All teams", ((name, name) for name in self._teams))
        self.offer("timezone", "The team's, or UTC", ((zone, zone) for zone in sorted(zones)))

    def offer(self, field: str, nothing: str, choices: Iterable[tuple[Any, str]]) -> None:
        """Fill a select; its empty choice reads `nothing`."""
        cast(forms.ChoiceField, self.fields[field]).choices = [("", nothing), *choices]

    def scope(self) -> Scope:
        team = self._teams.get(self.given("team"))
        zone = self.given("timezone") or (team.timezone if team else "UTC")
        return Scope(team.pk if team else None, team.name if team else "", ZoneInfo(zone))

    def given(self, field: str) -> Any:
        """What was given, if it was right; else nothing."""
        self.is_valid()  # reads the fields on first use
        return self.cleaned_data.get(field, "")

    @property
    def http_status(self) -> int:
        return 200 if self.is_valid() else 400
