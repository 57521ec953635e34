"""What a newcomer does next, until the first call is in the ledger."""

from dataclasses import dataclass

from django.conf import settings

from keys.models import ApiKey, Team
from routing.models import Model, Provider


@dataclass(frozen=True, slots=True)
class FirstSteps:
    """What there is already, and the command of the first call.

    Attributes:
        curl: reads the key from the environment variable GATEWAY_KEY.
    """

    has_team: bool
    has_provider: bool
    has_key: bool
    curl: str


def first_steps() -> FirstSteps:
    return FirstSteps(
        has_team=Team.objects.exists(),
        has_provider=Provider.objects.filter(enabled=True).exists(),
        has_key=ApiKey.objects.filter(revoked_at=None).exists(),
        curl=_curl(),
    )


def _curl() -> str:
    # The built-in demo model answers without any account.
    names = Model.objects.exclude(name__contains="*").order_by("name")
    model = names.filter(name="demo").first() or names.first()
    body = f'{{"model": "{model or "demo"}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return (
        f"curl -sS {settings.PUBLIC_URL}/v1/chat/completions \\\n"
        '  -H "Authorization: Bearer $GATEWAY_KEY" \\\n'
        '  -H "Content-Type: application/json" \\\n'
        f"  -d '{body}'"
    )
