"""What /v1/models and /v1/rate-limit answer, as plain data."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from billing.limits import LimitState
from billing.models import Unit, Window
from billing.pricing import format_usd
from keys.caller import Caller
from routing.catalogue import Catalogue, PublicModel


def callable_models(catalogue: Catalogue, caller: Caller) -> list[PublicModel]:
    return [model for model in catalogue.public_models() if caller.may_call(model.name)]


def openai_list(models: Iterable[PublicModel]) -> dict[str, Any]:
    return {"object": "list", "data": [openai_model(model) for model in models]}


def openai_model(model: PublicModel) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at.timestamp()),
        "owned_by": "gateway",
    }


def anthropic_list(models: Sequence[PublicModel]) -> dict[str, Any]:
    data = [anthropic_model(model) for model in models]
    return {
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def anthropic_model(model: PublicModel) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model.name,
        "display_name": model.name,
        "created_at": model.created_at.isoformat().replace("+00:00", "Z"),
    }


def rate_limits(states: Sequence[LimitState]) -> dict[str, Any]:
    """Every limit, and the tightest minute limits first; usd as decimal strings.

    A soft limit is listed, and takes nothing from what remains.
    """
    by_minute = [state for state in states if state.window == Window.MINUTE and not state.soft]
    requests = _tightest(by_minute, Unit.REQUESTS)
    tokens = _tightest(by_minute, Unit.TOKENS)
    resets = [state.reset_at for state in (requests, tokens) if state and state.reset_at]
    return {
        "requests_remaining": requests.remaining if requests else None,
        "tokens_remaining": tokens.remaining if tokens else None,
        "reset_at": _unix(min(resets)) if resets else None,
        "limits": [_row(state) for state in states],
    }


def _tightest(states: Iterable[LimitState], unit: Unit) -> LimitState | None:
    return min(
        (state for state in states if state.unit == unit),
        key=lambda state: state.remaining,
        default=None,
    )


def _row(state: LimitState) -> dict[str, Any]:
    def figure(amount: int) -> int | str:
        return format_usd(amount) if state.unit == Unit.USD else amount

    return {
        "scope": state.scope,
        "unit": state.unit,
        "window": state.window or None,
        "ceiling": figure(state.ceiling),
        "used": figure(state.used),
        "remaining": figure(state.remaining),
        "reset_at": _unix(state.reset_at) if state.reset_at else None,
    }


def _unix(moment: datetime) -> int:
    return int(moment.timestamp())
