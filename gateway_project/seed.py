"""What an empty installation is given on its first start, so that it answers at once.

The first start is the one that finds no user: one transaction, so a start that was cut off
begins again, and nothing that an administrator deleted later ever comes back.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from billing.price_data import DEMO_KIND, DEMO_MODELS, DEMO_PRICE, DEMO_PRICE_SOURCE
from billing.price_edits import set_price
from gateway_project.environment import Environment
from keys.accounts import create_administrator
from keys.issuing import issue_key
from keys.models import Team, User
from routing.models import Kind, Provider
from routing.presets import add_usual_models
from routing.provider_edits import save_provider

TEAM = "default"
KEY = "first"


# No repr: what it holds is shown once, and not in a traceback.
@dataclass(frozen=True, slots=True, repr=False)
class FirstStart:
    """What the greeting tells.

    Attributes:
        secret: of the first key.
        one_time_password: empty when ADMIN_PASSWORD was given.
    """

    secret: str
    one_time_password: str


def seed(environment: Environment, now: datetime) -> FirstStart | None:
    """Fill an installation without users; None when there is one."""
    with transaction.atomic():
        if User.objects.exists():
            return None
        _, one_time_password = create_administrator(
            environment.admin_username, environment.admin_password or None
        )
        _add_prices(now)
        _add_providers(environment)
        team = Team.objects.create(name=TEAM)
        _, secret = issue_key(team, KEY)
    return FirstStart(secret=secret, one_time_password=one_time_password or "")


def _add_prices(now: datetime) -> None:
    # Here: to read the price list takes as long as all other imports of a start.
    from billing.price_sync import sync_prices  # noqa: PLC0415

    set_price(DEMO_PRICE, kind=DEMO_KIND, model=DEMO_MODELS, now=now, source=DEMO_PRICE_SOURCE)
    sync_prices(now)


def _add_providers(environment: Environment) -> None:
    credentials = {
        Kind.DEMO: "",
        Kind.OPENAI: environment.openai_api_key,
        Kind.ANTHROPIC: environment.anthropic_api_key,
    }
    for kind, credential in credentials.items():
        if credential or kind == Kind.DEMO:
            provider = save_provider(Provider(name=kind.value, kind=kind), credential=credential)
            add_usual_models(provider)
