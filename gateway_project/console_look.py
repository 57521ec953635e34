"""How the console looks: unfold's title, symbol and sidebar."""


def _item(title: str, icon: str, link: str) -> dict[str, str]:
    return {"title": title, "icon": icon, "link": link}


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
                    _item("Teams", "groups", "/admin/keys/team/"),
                    _item("Keys", "key", "/admin/keys/apikey/"),
                    _item("Limits", "speed", "/admin/billing/limit/"),
                    _item("Users", "person", "/admin/keys/user/"),
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
        ],
    },
}
