"""What the console and the management API say while the database is away: 503, and come back.

Django calls this for every exception that nothing else took, whether a view or a middleware
raised it; the session of a signed-in user is a row too.
"""

import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.defaults import server_error

_RETRY_AFTER_SECONDS = "5"
_DETAIL = "The database is not available at the moment. Try again."


def unexpected(request: HttpRequest) -> HttpResponse:
    """The handler of errors: 503 while the database is away, 500 for a mistake of ours."""
    if not isinstance(sys.exception(), OperationalError | InterfaceError):
        return server_error(request)
    if request.path.startswith("/api/"):
        away: HttpResponse = JsonResponse({"detail": _DETAIL}, status=503)
    else:
        # Without the request: what the console's pages ask of it are questions to the database.
        away = render(None, "console/away.html", status=503)
    away["Retry-After"] = _RETRY_AFTER_SECONDS
    return away
