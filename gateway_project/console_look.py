"""How the console looks: unfold's title, symbol and sidebar."""

from typing import Any

from django.urls import reverse_lazy


def _item(title: str, icon: str, link: Any) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": link}


def _changelist(title: str, icon: str, name: str) -> dict[str, Any]:
    return _item(title, icon, reverse_lazy(f"admin:{name}_changelist"))


UNFOLD = {
    "SITE_TITLE": "AI gateway",
    "SITE_HEADER": "AI gateway",
    "SITE_SYMBOL": "hub",
    "SITE_URL": "/",
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "keys.sign_in.SignInForm"},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    _item("Dashboard", "dashboard", "/"),
                    _item("Logs", "receipt_long", "/logs/"),
                    _item("Costs", "payments", "/costs/"),
                ]
            },
            {
                "title": "Access",
                "separator": True,
                "items": [
                    _changelist("Teams", "groups", "keys_team"),
                    _changelist("Keys", "key", "keys_apikey"),
                    _changelist("Limits", "speed", "billing_limit"),
                    _changelist("Users", "person", "keys_user"),
                ],
            },
            {
                "title": "Routing",
                "separator": True,
                "items": [
                    _changelist("Providers", "cloud", "routing_provider"),
                    _changelist("Models", "alt_route", "routing_model"),
                    _changelist("Prices", "sell", "billing_price"),
                ],
            },
        ],
    },
}
