"""`/`: what is spent, by whom, how calls fare, and which limits are near their ceilings."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from billing.breakdown import DaySpend
from billing.call_log import LogFilter, call_page
from billing.dashboard import overview
from gateway_project.pages.chart import spend_chart
from gateway_project.pages.first_steps import first_steps
from gateway_project.pages.page import page
from gateway_project.pages.scope import Scope, ScopeForm

RANGES = (7, 30, 90)
DEFAULT_RANGE = 30
LATEST_CALLS = 8


class DashboardForm(ScopeForm):
    days = forms.TypedChoiceField(
        choices=[(days, f"{days} days") for days in RANGES],
        coerce=int,
        required=False,
        widget=forms.HiddenInput,
    )


def dashboard(request: HttpRequest) -> HttpResponse:
    form = DashboardForm(request.GET)
    scope, days = form.scope(), form.given("days") or DEFAULT_RANGE
    shown = overview(timezone.now(), scope.zone, days=days, team_id=scope.team_id)
    latest = call_page(LogFilter(team_id=scope.team_id), rows=LATEST_CALLS).calls
    answers: dict[str, Any] = {
        "form": form,
        "zone": scope.zone,
        "days": days,
        "ranges": RANGES,
        "shown": shown,
        "as_of": shown.as_of,
        "costs": _costs_of_same_days(shown.range.days, scope),
        "chart": spend_chart(shown.range.days),
        "latest": latest,
        "steps": None if latest else first_steps(),
    }
    return page(request, "dashboard", "Dashboard", status=form.http_status, **answers)


def _costs_of_same_days(days: Sequence[DaySpend], scope: Scope) -> str:
    """The page that has all lines of which the dashboard has the first."""
    asked = {"first": days[0].day, "last": days[-1].day, "timezone": scope.zone.key}
    return f"{reverse('costs')}?{urlencode(asked | {'team': scope.team})}"
