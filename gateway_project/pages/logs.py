"""`/logs/`: calls, calls that were refused, and the receipt of each; newest first."""

from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse

from billing.call_log import LogFilter, call_page, refused_page
from billing.reports import receipt_of_any_team
from gateway_project.pages.log_forms import CallsForm, LogForm, RefusedForm
from gateway_project.pages.page import page
from keys.errors import InvalidRequestError


def calls(request: HttpRequest) -> HttpResponse:
    return _log(request, "calls", CallsForm(request.GET), call_page)


def refused(request: HttpRequest) -> HttpResponse:
    return _log(request, "refused", RefusedForm(request.GET), refused_page)


def _log(
    request: HttpRequest, name: str, form: LogForm, rows_of: Callable[[LogFilter, str], Any]
) -> HttpResponse:
    answers: dict[str, Any] = {"log": name, "form": form, "zone": form.scope().zone}
    if not form.is_valid():
        return page(request, name, "Logs", status=400, **answers)
    try:
        answers["rows"] = rows_of(form.wanted(), request.GET.get("cursor", ""))
    except InvalidRequestError as error:
        return page(request, name, "Logs", status=400, problem=error.message, **answers)
    return page(request, name, "Logs", **answers)


def receipt(request: HttpRequest, request_id: str) -> HttpResponse:
    """Everything about one call: what the ledger says, or why it was refused."""
    this = LogFilter(request_id=request_id)
    entries = call_page(this).calls
    refusals = refused_page(this).refused
    if not entries and not refusals:
        raise Http404
    # The request itself is entry 0; corrections may have come years later.
    this_call = min(entries, key=lambda entry: entry.entry, default=None)
    answers: dict[str, Any] = {
        "call": this_call,
        "zone": this_call.timezone if this_call else "UTC",
        "refusal": next(iter(refusals), None),
        "receipt": receipt_of_any_team(request_id),
    }
    return page(request, "receipt", f"Request {request_id}", **answers)
