"""The management API of limits, prices and the ledger, for administrators.

Money is decimal strings in USD, both ways.
"""

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError as ModelError
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ModelViewSet

from billing.call_log import Call, CallPage, LogFilter, call_page
from billing.ceilings import parse_ceiling, show_ceiling
from billing.limit_edits import change_limit, create_limit
from billing.models import Limit, Price
from billing.price_book import FIGURES
from billing.price_edits import InvalidPriceError, set_price
from billing.pricing import Price as Figures
from billing.pricing import format_usd, parse_usd
from keys.api_access import IsAdministrator
from keys.errors import InvalidRequestError

_Result = TypeVar("_Result")


def _checked(rule: Callable[..., _Result], *args: Any, **kwargs: Any) -> _Result:
    """Apply one of the rooms' own rules and answer 400 with its words where it is broken."""
    try:
        return rule(*args, **kwargs)
    except ModelError as error:
        raise ValidationError(serializers.as_serializer_error(error)) from error
    except InvalidPriceError as error:
        raise ValidationError({error.field: [error.message]}) from error
    except InvalidRequestError as error:
        raise ValidationError({error.param or "detail": [error.message]}) from error


class UsdField(serializers.CharField):
    """Dollars as a decimal string, nano-dollars inside."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            raise ValidationError('Write dollars as a string, such as "2.50".')
        try:
            return parse_usd(data)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def to_representation(self, value: Any) -> str:
        return format_usd(value)


@extend_schema_field(
    {"type": "string", "description": "USD as a decimal string, or a whole number"}
)
class CeilingField(serializers.Field):  # type: ignore[type-arg]  # not generic at run time
    """A ceiling in its limit's unit: dollars as a decimal string, or a whole number."""

    def to_internal_value(self, data: Any) -> str:
        if isinstance(data, bool) or not isinstance(data, str | int):
            raise ValidationError("Write dollars as a string, or a whole number.")
        return str(data)

    def get_attribute(self, instance: Limit) -> Limit:
        return instance

    def to_representation(self, value: Limit) -> str | int:
        return show_ceiling(value.unit, value.ceiling) if value.unit == "usd" else value.ceiling


class LimitSerializer(serializers.ModelSerializer[Limit]):
    ceiling = CeilingField()
    alert_at = serializers.ListField(child=serializers.FloatField(), required=False)

    class Meta:
        model = Limit
        fields: ClassVar = [
            "id",
            "team",
            "key",
            "unit",
            "window",
            "per",
            "ceiling",
            "soft",
            "alert_at",
            "timezone",
            "created_at",
        ]
        read_only_fields = ("timezone",)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        limit = self.instance
        if limit is not None:
            for name in ("team", "key"):
                if attrs.pop(name, getattr(limit, name)) != getattr(limit, name):
                    raise ValidationError({name: ["A limit stays whose it is; make another one."]})
        unit = attrs.get("unit", limit.unit if limit else "")
        if "ceiling" in attrs:
            try:
                attrs["ceiling"] = parse_ceiling(unit, attrs["ceiling"])
            except ValueError as error:
                raise ValidationError({"ceiling": [str(error)]}) from error
        elif limit is not None and unit != limit.unit:
            raise ValidationError({"ceiling": ["Give the ceiling in the new unit too."]})
        return attrs

    def create(self, validated_data: dict[str, Any]) -> Limit:
        return _checked(create_limit, **validated_data)

    def update(self, instance: Limit, validated_data: dict[str, Any]) -> Limit:
        return _checked(change_limit, instance, **validated_data)


class LimitViewSet(ModelViewSet[Limit]):
    """Limits of teams and keys. A changed ceiling keeps what is used; any other edit makes a new
    limit, with an id of its own, that starts from the ledger.
    """

    queryset = Limit.objects.select_related("team", "key").order_by("pk")
    serializer_class = LimitSerializer
    permission_classes = (IsAdministrator,)

    def get_queryset(self) -> Any:
        limits = super().get_queryset()
        team = self.request.query_params.get("team", "")
        return limits.filter(team_id=int(team)) if team.isdecimal() else limits


class PriceSerializer(serializers.ModelSerializer[Price]):
    """USD per million tokens."""

    input = UsdField()
    cached_input = UsdField(required=False, allow_null=True)
    cache_write = UsdField(required=False, allow_null=True)
    cache_write_1h = UsdField(required=False, allow_null=True)
    output = UsdField()
    above_input = UsdField(required=False, allow_null=True)
    above_cached_input = UsdField(required=False, allow_null=True)
    above_cache_write = UsdField(required=False, allow_null=True)
    above_cache_write_1h = UsdField(required=False, allow_null=True)
    above_output = UsdField(required=False, allow_null=True)
    effective_from = serializers.DateTimeField(
        required=False,
        allow_null=True,
        help_text="Left out: from now on, or for all calls so far if it is the first price.",
    )

    class Meta:
        model = Price
        fields: ClassVar = [
            "id",
            "provider",
            "kind",
            "model",
            "effective_from",
            *FIGURES,
            "source",
            "checked_on",
            "created_at",
        ]
        # `set_price` says what is wrong, and knows that the same figures are no conflict.
        validators: ClassVar[list[Any]] = []


class PriceViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.ListModelMixin,
    GenericViewSet[Price],
):
    """Prices. They are added, never changed; one whose figures hold already adds nothing."""

    queryset = Price.objects.order_by("model", "provider", "kind", "-effective_from")
    serializer_class = PriceSerializer
    permission_classes = (IsAdministrator,)

    @extend_schema(responses={201: PriceSerializer, 200: PriceSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = dict(serializer.validated_data)
        figures = Figures(id=0, **{name: fields.pop(name, None) for name in FIGURES})
        row = _checked(set_price, figures, **fields, now=timezone.now())
        if row is not None:
            return Response(self.get_serializer(row).data, status=status.HTTP_201_CREATED)
        named = {name: fields.get(name, "") for name in ("provider", "kind", "model")}
        at = fields.get("effective_from") or timezone.now()
        holding = Price.objects.filter(**named, effective_from__lte=at)
        return Response(self.get_serializer(holding.order_by("-effective_from")[0]).data)


class LedgerQuery(serializers.Serializer[Any]):
    """What to narrow the ledger to; everything may be left out."""

    team = serializers.IntegerField(required=False, help_text="id")
    key = serializers.IntegerField(required=False, help_text="id")
    model = serializers.CharField(required=False, help_text="as requested")
    provider = serializers.CharField(required=False)
    status = serializers.CharField(required=False)
    end_user = serializers.CharField(required=False)
    request_id = serializers.CharField(required=False)
    start = serializers.DateTimeField(required=False, help_text="from this instant on")
    end = serializers.DateTimeField(required=False, help_text="up to but without this instant")
    cursor = serializers.CharField(required=False, help_text="`older` of the page before")
    rows = serializers.IntegerField(required=False, min_value=1, max_value=1000)


class CallSerializer(serializers.Serializer[Call]):
    id = serializers.IntegerField()
    request_id = serializers.CharField()
    entry = serializers.IntegerField()
    started_at = serializers.DateTimeField()
    team = serializers.CharField()
    key_name = serializers.CharField()
    key_prefix = serializers.CharField()
    end_user = serializers.CharField()
    tags = serializers.DictField(child=serializers.CharField())
    address = serializers.CharField()
    streamed = serializers.BooleanField()
    requested_model = serializers.CharField()
    provider = serializers.CharField()
    upstream_model = serializers.CharField()
    status = serializers.CharField()
    error_code = serializers.CharField()
    input_tokens = serializers.IntegerField()
    cached_input_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    cost_usd = UsdField(source="cost_nano_usd", allow_null=True)
    usage_source = serializers.CharField()
    cached = serializers.BooleanField()
    latency_ms = serializers.IntegerField()
    flags = serializers.ListField(child=serializers.CharField())


class CallPageSerializer(serializers.Serializer[CallPage]):
    results = CallSerializer(many=True, source="calls")
    older = serializers.CharField(allow_null=True)


class LedgerView(APIView):
    """The ledger's entries, newest first, in pages that go on where the last one ended."""

    permission_classes = (IsAdministrator,)

    @extend_schema(parameters=[LedgerQuery], responses=CallPageSerializer)
    def get(self, request: Request) -> Response:
        query = LedgerQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        asked = dict(query.validated_data)
        cursor, rows = asked.pop("cursor", ""), asked.pop("rows", 100)
        wanted = LogFilter(team_id=asked.pop("team", None), key_id=asked.pop("key", None), **asked)
        page = _checked(call_page, wanted, cursor, rows=rows)
        return Response(CallPageSerializer(page).data)
