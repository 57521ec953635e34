"""How the console looks: unfold's title, symbol and sidebar."""

from typing import Any

from django.http import HttpRequest

_OURS = "gateway_project"


def _item(title: str, icon: str, link: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link}


def _is_dashboard(request: HttpRequest) -> bool:
    # Every address begins with a slash, so that by itself this item would always be lit.
    return request.path == "/"


UNFOLD = {
    "SITE_TITLE": "AI gateway",
    "SITE_HEADER": "AI gateway",
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": f"/static/{_OURS}/icon.svg"},
    ],
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "keys.sign_in.SignInForm"},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {**_item("Dashboard", "dashboard", "/"), "active": _is_dashboard},
                    _item("Logs", "receipt_long", "/logs/"),
                    _item("Costs", "payments", "/costs/"),
                ]
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _item("Teams", "groups", "/admin/keys/team/"),
                    _item("Keys", "key", "/admin/keys/apikey/"),
                    _item("Limits", "speed", "/admin/billing/limit/"),
                ],
            },
            {
                "title": "Routing",
                "separator": True,
                "items": [
                    _item("Providers", "cloud", "/admin/routing/provider/"),
                    _item("Models", "alt_route", "/admin/routing/model/"),
                    _item("Prices", "sell", "/admin/billing/price/"),
                ],
            },
            {
                "title": "Records",
                "separator": True,
                "items": [
                    _item("Ledger", "menu_book", "/admin/billing/ledgerentry/"),
                    _item("Alerts", "notifications", "/admin/billing/alert/"),
                    _item("Refused calls", "block", "/admin/billing/refusedcall/"),
                    _item("Spend totals", "functions", "/admin/billing/spendtotal/"),
                ],
            },
            {
                "title": "Administration",
                "separator": True,
                "items": [
                    _item("Users", "person", "/admin/keys/user/"),
                    _item("Staff tokens", "badge", "/admin/keys/stafftoken/"),
                    _item("API documents", "api", "/api/docs/"),
                ],
            },
        ],
    },
}
