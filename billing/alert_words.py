"""What an alert says: a title and a text for people, data for programs. Pure.

Written once, when the alert is recorded: every try of every channel says the same.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from billing.ceilings import show_ceiling
from billing.limit_rules import LimitRule
from billing.models import Per, Unit
from billing.periods import Period
from billing.pricing import NANO_PER_USD, short_usd


@dataclass(frozen=True, slots=True)
class Crossing:
    """A share of a limit that has been used up.

    Attributes:
        subject: as in `LimitRule.subject`; `who` is the same in words.
        share: of the ceiling, such as 0.8.
    """

    rule: LimitRule
    team: str
    subject: str
    who: str
    period: Period
    used: int
    share: Decimal


@dataclass(frozen=True, slots=True)
class Excess:
    """One request of which a provider reported more than it could use at most.

    Attributes:
        cost_nano_usd: of all its attempts, those of which the price is known.
        beyond: how much more than was held for limits, by unit; empty where none held anything.
    """

    request_id: str
    tokens: int
    cost_nano_usd: int
    beyond: dict[str, int]


def plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def crossing_says(crossing: Crossing, console: str) -> dict[str, Any]:
    """Args: console: the address that links begin with."""
    rule, unit = crossing.rule, crossing.rule.unit
    noun = "budget" if unit == Unit.USD else "limit"
    per = "in total" if rule.window == "total" else f"per {rule.window}"
    ceiling = _amount(unit, rule.ceiling)
    title = (
        f"{crossing.who} has used {plain(crossing.share * 100)} % of its {noun} of {ceiling} {per}"
    )
    now_at = f" ({crossing.used * 100 // rule.ceiling} %)" if rule.ceiling else ""
    effect = (
        "This limit only alerts; calls go on."
        if rule.soft
        else "Calls that might pass the ceiling are refused."
    )
    link = f"{console}/admin/billing/limit/{rule.id}/change/"
    text = "\n".join(
        [
            f"{title}.",
            "",
            f"Used: {_amount(unit, crossing.used)} of {ceiling}{now_at}",
            f"Period: from {_shown(crossing.period.start, rule)}"
            if crossing.period.end
            else "Period: all time",
            f"Resets: {_shown(crossing.period.end, rule) if crossing.period.end else 'never'}",
            effect,
            "",
            link,
        ]
    )
    data = {
        "team": crossing.team,
        "team_id": rule.team_id,
        "limit_id": rule.id,
        "unit": unit,
        "window": rule.window,
        "per": rule.scope,
        "subject": crossing.subject,
        "soft": rule.soft,
        "share": plain(crossing.share),
        "used": _figure(unit, crossing.used),
        "ceiling": _figure(unit, rule.ceiling),
        "period_start": crossing.period.start.isoformat() if crossing.period.end else None,
        "period_end": crossing.period.end and crossing.period.end.isoformat(),
        "timezone": rule.timezone,
        "url": link,
    }
    return {"title": _one_line(title), "text": text, "data": data}


def excess_says(
    team: str, team_id: int, model: str, day: str, excesses: list[Excess], console: str
) -> dict[str, Any]:
    """Args: day: on the team's calendar; console: the address that links begin with."""
    title = f"Calls of team {team} to {model} used more than they could have on {day}"
    text = "\n".join(
        [
            f"{title}.",
            "",
            "A provider reported more than these calls could use at most. They are charged in "
            "full. Is the model's provider set up for the right model?",
            "",
            *map(_excess_line, excesses),
            "",
            "Further ones of that day are in the ledger, flagged beyond_bound.",
            f"{console}/logs/",
        ]
    )
    requests = [
        {
            "request_id": one.request_id,
            "tokens": one.tokens,
            "cost": short_usd(one.cost_nano_usd),
            "excess": {unit: _figure(unit, n) for unit, n in one.beyond.items()},
        }
        for one in excesses
    ]
    data = {"team": team, "team_id": team_id, "model": model, "day": day, "requests": requests}
    return {"title": _one_line(title), "text": text, "data": data}


def _excess_line(one: Excess) -> str:
    used = f"{_amount(Unit.TOKENS, one.tokens)}, {_amount(Unit.USD, one.cost_nano_usd)}"
    more = ", ".join(_amount(unit, amount) for unit, amount in one.beyond.items())
    return f"{one.request_id}: {used}" + (f" ({more} more than was held)" if more else "")


def who_is(rule: LimitRule, subject: str, team: str, key_name: str) -> str:
    """The subject of a limit in words, as a sentence begins."""
    of_key = f" of key {key_name}" if rule.key_id is not None else ""
    if rule.scope == Per.END_USER:
        user = f"End user {subject}" if subject else "The group of calls without an end user"
        return f"{user}{of_key} of team {team}"
    return f"Key {key_name} of team {team}" if rule.scope == Per.KEY else f"Team {team}"


def _amount(unit: str, amount: int) -> str:
    if unit == Unit.USD:
        return f"{short_usd(amount)} USD"
    return f"{amount:,} {unit.removesuffix('s') if amount == 1 else unit}"


def _figure(unit: str, amount: int) -> str | int:
    """Money as a decimal string, as everywhere in the API; the rest as whole numbers."""
    return show_ceiling(unit, amount) if unit == Unit.USD else amount


def amount_of(unit: str, figure: str | int) -> int:
    """The amount that a figure of an alert's data says."""
    return int(Decimal(figure) * NANO_PER_USD) if unit == Unit.USD else int(figure)


def _shown(instant: datetime, rule: LimitRule) -> str:
    local = instant.astimezone(ZoneInfo(rule.timezone))
    return f"{local:%Y-%m-%d %H:%M} ({rule.timezone})"


def _one_line(text: str) -> str:
    """A header of a mail may hold no line break, wherever the names in it are from."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
