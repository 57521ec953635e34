"""Addresses of the pages and of the management API; the gateway's own are in routing."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import DefaultRouter

from billing.alert_api import AlertViewSet
from billing.api import LedgerView, LimitViewSet, PriceViewSet
from billing.export_api import CostsView, SummaryView
from keys.api import KeyViewSet, TeamViewSet, UserViewSet
from routing.api import ModelsViewSet, ProviderViewSet

router = DefaultRouter()
router.register("teams", TeamViewSet)
router.register("keys", KeyViewSet)
router.register("limits", LimitViewSet)
router.register("users", UserViewSet)
router.register("providers", ProviderViewSet)
router.register("models", ModelsViewSet)
router.register("prices", PriceViewSet)
router.register("alerts", AlertViewSet)

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
    path("api/costs.csv", CostsView.as_view()),
    path("api/costs/summary.csv", SummaryView.as_view()),
    path("api/ledger/", LedgerView.as_view()),
    path("api/", include(router.urls)),
    path("", include("gateway_project.pages.urls")),
    # Served by the gateway's own handler; here for the OpenAPI document.
    path("", include("routing.gateway_api.urls")),
]
handler500 = "gateway_project.pages.away.unexpected"
