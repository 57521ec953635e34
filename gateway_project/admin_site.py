"""The one admin site: every room registers with `django.contrib.admin.site`, which is this."""

from unfold.sites import UnfoldAdminSite


class GatewayAdminSite(UnfoldAdminSite):  # type: ignore[misc]  # unfold brings no types
    site_title = "AI gateway"
    site_header = "AI gateway"
    index_title = "Console"
    index_template = "console/index.html"
