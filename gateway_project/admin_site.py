"""The one admin site: every room registers with `django.contrib.admin.site`, which is this."""

from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from unfold.sites import UnfoldAdminSite


class GatewayAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold brings no types
    site_title = "AI gateway"
    site_header = "AI gateway"
    index_title = "Console"
    index_template = "console/index.html"

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page of the console shows; the header says as of when it holds."""
        return {**super().each_context(request), "as_of": timezone.now()}
