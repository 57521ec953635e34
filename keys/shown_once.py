"""The page that shows a secret, once: in the answer to the very POST that made it.

The secret goes into no session, message or cache; leaving the page loses it for good.
"""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from django.http import HttpRequest
from django.template.response import TemplateResponse

# Between the hook that saves and the hook that answers, within one request.
_secrets: WeakKeyDictionary[HttpRequest, str] = WeakKeyDictionary()


def keep_until_answer(request: HttpRequest, secret: str) -> None:
    _secrets[request] = secret


def secret_page(
    request: HttpRequest, context: Mapping[str, Any], *, title: str, done_url: str
) -> TemplateResponse:
    """Answer with the secret that this request has made.

    Args:
        context: what every page of the admin site gets.
        done_url: where to go once it is copied.
    """
    return TemplateResponse(
        request,
        "keys/shown_once.html",
        {
            **context,
            "title": title,
            "secret": _secrets.pop(request),
            "done_url": done_url,
        },
        headers={"Cache-Control": "no-store"},
    )
