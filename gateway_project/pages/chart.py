"""Spend by day as the chart library that comes with the console's look wants it: as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from billing.breakdown import DaySpend
from billing.pricing import format_usd

# Readable on white and on the dark background alike.
_GREY = "#7a8290"
_OPTIONS: dict[str, Any] = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "maxBarThickness": 32,
    "interaction": {"mode": "index", "intersect": False},
    "plugins": {"legend": {"display": False}, "tooltip": {"displayColors": False}},
    "scales": {
        "x": {
            "grid": {"display": False},
            "ticks": {"color": _GREY, "maxRotation": 0, "autoSkipPadding": 16},
        },
        "y": {
            "beginAtZero": True,
            "border": {"display": False},
            "ticks": {
                "color": _GREY,
                "maxTicksLimit": 5,
                # Down to the nano-dollar, and never as 1.5E-5; the tooltip goes by it too.
                "format": {
                    "notation": "standard",
                    "minimumFractionDigits": 0,
                    "maximumFractionDigits": 9,
                },
            },
        },
    },
}


@dataclass(frozen=True, slots=True)
class Chart:
    """JSON for the attributes of its canvas."""

    data: str
    options: str


def spend_chart(days: Sequence[DaySpend]) -> Chart:
    spent = {
        "label": "USD",
        # Strings: the chart reads them, and no amount becomes a binary fraction here.
        # A day of which nothing is known has no bar.
        "data": [
            format_usd(day.sums.cost_nano_usd) if day.sums.cost_known else None for day in days
        ],
        "backgroundColor": "var(--color-primary-500)",
        "borderRadius": 4,
    }
    data = {"labels": [f"{day.day:%-d %b}" for day in days], "datasets": [spent]}
    return Chart(orjson.dumps(data).decode(), orjson.dumps(_OPTIONS).decode())
