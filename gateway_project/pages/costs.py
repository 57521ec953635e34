"""`/costs/`: what some days cost, by day, team and model; and the way to the CSV exports."""

from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from billing.breakdown import breakdown
from billing.day_range import EARLIEST, LATEST, DayRange, local_day
from gateway_project.pages.chart import spend_chart
from gateway_project.pages.page import page
from gateway_project.pages.scope import Scope, ScopeForm

# The page lists every day. Longer exports go by the API and the command.
MOST_DAYS = timedelta(days=366)
SUMMARIES = (
    ("day,team", "day and team"),
    ("month,team", "month and team"),
    ("team,model", "team and model"),
    ("team,key", "team and key"),
    ("team,end_user", "team and end user"),
    ("team,tag", "team and tag"),
    ("provider,model", "provider and model"),
)


class CostsForm(ScopeForm):
    first = forms.DateField(required=False, label="From")
    last = forms.DateField(required=False, label="To")

    def clean(self) -> dict[str, Any]:
        days = [day for name in ("first", "last") if (day := self.cleaned_data.get(name))]
        if not all(EARLIEST <= day <= LATEST for day in days):
            raise forms.ValidationError(f"Days must lie in {EARLIEST} … {LATEST}.")
        if len(days) == 2 and days[0] > days[1]:
            raise forms.ValidationError("From must not be after To.")
        if len(days) == 2 and days[1] - days[0] >= MOST_DAYS:
            raise forms.ValidationError(f"Choose at most {MOST_DAYS.days} days.")
        return self.cleaned_data

    def days(self, now: datetime) -> DayRange:
        """The days asked for; this month so far if none are, and never more than fit."""
        zone = self.scope().zone
        last: date = self.given("last") or local_day(now, zone)
        last = min(max(last, EARLIEST), LATEST)
        first: date = self.given("first") or last.replace(day=1)
        first = max(EARLIEST, last - MOST_DAYS + timedelta(days=1), min(first, last))
        return DayRange(first, last, zone)


def costs(request: HttpRequest) -> HttpResponse:
    form = CostsForm(request.GET)
    scope, days = form.scope(), form.days(timezone.now())
    spent = breakdown(days, team_id=scope.team_id)
    export = _export_parameters(days, scope)
    answers: dict[str, Any] = {
        "form": form,
        "scope": scope,
        "zone": scope.zone,
        "days": days,
        "spent": spent,
        "chart": spend_chart(spent.days),
        "export": export,
        "export_query": urlencode(export),
        "summaries": SUMMARIES,
    }
    return page(request, "costs", "Costs", status=form.http_status, **answers)


def _export_parameters(days: DayRange, scope: Scope) -> dict[str, str]:
    """As the exports of the management API read them."""
    return {
        "from": f"{days.first}",
        "to": f"{days.last}",
        "team": scope.team,
        "timezone": scope.zone.key,
    }
