"""The cost exports at the management API: `/api/costs.csv` and `/api/costs/summary.csv`."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from billing.csv_response import CsvResponse
from billing.exports import Export, costs_csv, read_export, read_group_by, summary_csv
from billing.spend import DIMENSIONS
from keys.api_access import IsAdministrator
from keys.errors import InvalidRequestError
from keys.throttle import seconds_to_wait

# An export may read the whole ledger: enough for people and schedules, not for a loop.
EXPORTS_PER_USER = "60/m"

_SWITCHES = {"": False, "0": False, "false": False, "1": True, "true": True}
_PARAMETERS = [
    OpenApiParameter("from", OpenApiTypes.DATE, required=True, description="first day"),
    OpenApiParameter("to", OpenApiTypes.DATE, required=True, description="last day, included"),
    OpenApiParameter("team", str, description="one team, by name"),
    OpenApiParameter(
        "timezone", str, description="of the days; the team's, or UTC for several teams"
    ),
    OpenApiParameter("excel", bool, description="byte order mark and semicolons"),
]
_CSV = {(200, "text/csv"): OpenApiTypes.STR}


class CsvRenderer(BaseRenderer):
    """Lets clients ask for text/csv. The exports are not rendered; an error here is one line."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> str:
        messages = data.values() if isinstance(data, dict) else [data]
        return "\r\n".join(str(message) for message in messages) + "\r\n"


class ExportThrottle(BaseThrottle):
    """Counts per user, with django-ratelimit."""

    _wait = 0

    def allow_request(self, request: Request, view: APIView) -> bool:
        self._wait = seconds_to_wait("exports", str(request.user.pk), EXPORTS_PER_USER)
        return self._wait == 0

    def wait(self) -> float | None:
        return self._wait


class _ExportView(APIView):
    permission_classes = (IsAdministrator,)
    throttle_classes = (ExportThrottle,)
    renderer_classes = (JSONRenderer, CsvRenderer)


class CostsView(_ExportView):
    """Every ledger entry of the days as CSV."""

    @extend_schema(operation_id="costs_csv", parameters=_PARAMETERS, responses=_CSV)
    def get(self, request: Request) -> CsvResponse:
        export = _read(request)
        return CsvResponse(costs_csv(export), export.file_name("costs"))


class SummaryView(_ExportView):
    """Sums as CSV, grouped by any dimensions in any order."""

    @extend_schema(
        operation_id="costs_summary_csv",
        parameters=[
            *_PARAMETERS,
            OpenApiParameter(
                "group_by",
                str,
                required=True,
                description=f"comma-separated: {', '.join(DIMENSIONS)}",
            ),
        ],
        responses=_CSV,
    )
    def get(self, request: Request) -> CsvResponse:
        export = _read(request)
        try:
            group_by = read_group_by(request.query_params.get("group_by", ""))
        except InvalidRequestError as error:
            raise _bad(error) from error
        return CsvResponse(summary_csv(export, group_by), export.file_name("costs-summary"))


def _read(request: Request) -> Export:
    asked = request.query_params
    excel = _SWITCHES.get(asked.get("excel", "").lower())
    if excel is None:
        raise ValidationError({"excel": ["excel must be 1, 0, true or false."]})
    try:
        return read_export(
            first=asked.get("from", ""),
            last=asked.get("to", ""),
            team=asked.get("team", ""),
            zone=asked.get("timezone", ""),
            excel=excel,
        )
    except InvalidRequestError as error:
        raise _bad(error) from error


def _bad(error: InvalidRequestError) -> ValidationError:
    return ValidationError({error.param or "detail": [error.message]})
