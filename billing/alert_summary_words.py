"""What a summary of many alerts of one limit says; it grows while it collects. Pure."""

from collections.abc import Sequence
from typing import Any

# A mail that nobody reads to its end need not name thousands.
MOST_NAMED = 50
_OF_THE_LIMIT = (
    "team", "team_id", "limit_id", "unit", "window", "per", "soft", "ceiling", "timezone", "url",
)  # fmt: skip
_OF_ONE = ("subject", "share", "used", "period_start", "period_end")


def summary_says(
    said: dict[str, Any], more: Sequence[dict[str, Any]], alert_id: str, console: str
) -> dict[str, Any]:
    """What a summary says with some more alerts in it.

    Args:
        said: what it said before; empty for a new one.
        more: what those alerts say, all of one limit.
        alert_id: the summary's own.
        console: the address that links begin with.
    """
    before = said.get("data", {"count": 0, "alerts": []})
    count = before["count"] + len(more)
    named = [*before["alerts"], *map(_one, more)][:MOST_NAMED]
    limit = {name: more[0]["data"][name] for name in _OF_THE_LIMIT}
    title = named[0]["title"]
    if count > 1:
        title += f", and {count - 1:,} more such alert{'' if count == 2 else 's'}"
    further = [f"and {count - len(named):,} more"] if count > len(named) else []
    text = "\n".join(
        [
            "This limit alerts so often that these are told together:",
            "",
            *(one["title"] for one in named),
            *further,
            "",
            "All of them:",
            f"{console}/admin/billing/alert/?told_by__id__exact={alert_id}",
            "The limit:",
            limit["url"],
        ]
    )
    return {"title": title, "text": text, "data": {**limit, "count": count, "alerts": named}}


def _one(says: dict[str, Any]) -> dict[str, Any]:
    data = says["data"]
    return {"title": says["title"], **{name: data[name] for name in _OF_ONE}}
