"""The management API of providers and models, for administrators."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as ModelError
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from keys.api_access import IsAdministrator
from routing import credentials
from routing.model_edits import check_model
from routing.models import Model, Provider, Target
from routing.presets import add_usual_models
from routing.provider_check import check_connection
from routing.provider_edits import save_provider


@contextmanager
def _as_bad_request() -> Iterator[None]:
    """Answer 400 with the words of a rule that was broken."""
    try:
        yield
    except ModelError as error:
        raise ValidationError(serializers.as_serializer_error(error)) from error


class ProviderSerializer(serializers.ModelSerializer[Provider]):
    """`credential` is written only: absent keeps what is stored, an empty text removes it."""

    credential = serializers.CharField(
        write_only=True, required=False, allow_blank=True, trim_whitespace=False
    )
    credential_hint = serializers.SerializerMethodField()

    class Meta:
        model = Provider
        fields: ClassVar = [
            "id",
            "name",
            "kind",
            "base_url",
            "credential",
            "credential_hint",
            "connect_timeout_seconds",
            "timeout_seconds",
            "stream_idle_timeout_seconds",
            "total_timeout_seconds",
            "on_disconnect",
            "enabled",
            "created_at",
        ]

    def get_credential_hint(self, provider: Provider) -> str:
        return credentials.hint(provider.credential)

    def create(self, validated_data: dict[str, Any]) -> Provider:
        return self._saved(Provider(), validated_data)

    def update(self, instance: Provider, validated_data: dict[str, Any]) -> Provider:
        return self._saved(instance, validated_data)

    def _saved(self, provider: Provider, fields: dict[str, Any]) -> Provider:
        credential = fields.pop("credential", None)
        for name, value in fields.items():
            setattr(provider, name, value)
        with _as_bad_request():
            return save_provider(provider, credential=credential)


class CheckSerializer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    text = serializers.CharField()


class NamesSerializer(serializers.Serializer[Any]):
    added = serializers.ListField(child=serializers.CharField())


class ProviderViewSet(ModelViewSet[Provider]):
    """Providers. Their credentials go in and never come out."""

    queryset = Provider.objects.all()
    serializer_class = ProviderSerializer
    permission_classes = (IsAdministrator,)

    @extend_schema(request=None, responses=CheckSerializer)
    @action(detail=True, methods=["post"])
    def test_connection(self, request: Request, pk: str) -> Response:
        checked = check_connection(self.get_object())
        return Response({"ok": checked.ok, "text": checked.text})

    @extend_schema(request=None, responses=NamesSerializer)
    @action(detail=True, methods=["post"])
    def add_usual_models(self, request: Request, pk: str) -> Response:
        return Response({"added": add_usual_models(self.get_object())})


class TargetSerializer(serializers.ModelSerializer[Target]):
    provider = serializers.SlugRelatedField(slug_field="name", queryset=Provider.objects.all())

    class Meta:
        model = Target
        fields = ("provider", "upstream_model", "priority", "weight", "price_as")


class ModelSerializer(serializers.ModelSerializer[Model]):
    """`targets`, where given, replaces all targets of the model."""

    targets = TargetSerializer(many=True, allow_empty=False)

    class Meta:
        model = Model
        fields = (
            "id",
            "name",
            "strategy",
            "targets",
            "fallbacks",
            "max_attempts",
            "max_output_tokens",
            "created_at",
        )

    def validate_targets(self, targets: list[dict[str, Any]]) -> list[dict[str, Any]]:
        places = [(target["provider"].pk, target["upstream_model"]) for target in targets]
        if len(set(places)) < len(places):
            raise ValidationError("A target stands in it twice.")
        return targets

    def create(self, validated_data: dict[str, Any]) -> Model:
        return self._saved(Model(), validated_data)

    def update(self, instance: Model, validated_data: dict[str, Any]) -> Model:
        return self._saved(instance, validated_data)

    @transaction.atomic
    def _saved(self, model: Model, fields: dict[str, Any]) -> Model:
        targets = fields.pop("targets", None)
        for name, value in fields.items():
            setattr(model, name, value)
        with _as_bad_request():
            check_model(model)
        model.save()
        if targets is not None:
            model.targets.all().delete()
            Target.objects.bulk_create(Target(model=model, **target) for target in targets)
        return model


class ModelsViewSet(ModelViewSet[Model]):
    """The names that callers use, with where they go."""

    queryset = Model.objects.prefetch_related("targets__provider")
    serializer_class = ModelSerializer
    permission_classes = (IsAdministrator,)
