"""Addresses of the console's pages. Whoever is not signed in is asked to, first."""

from collections.abc import Callable

from django.contrib import admin
from django.http import HttpResponse
from django.urls import URLPattern, path

from gateway_project.pages.costs import costs
from gateway_project.pages.dashboard import dashboard
from gateway_project.pages.logs import calls, receipt, refused


def _page(route: str, view: Callable[..., HttpResponse]) -> URLPattern:
    return path(route, admin.site.admin_view(view), name=view.__name__)


urlpatterns = [
    _page("", dashboard),
    _page("logs/", calls),
    _page("logs/refused/", refused),
    _page("logs/<str:request_id>/", receipt),
    _page("costs/", costs),
]
