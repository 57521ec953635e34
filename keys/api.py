"""The management API of teams, keys and users, for administrators."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import ValidationError as ModelError
from django.db.models import ProtectedError
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, status
from rest_framework.decorators import action
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet, ModelViewSet

from keys.accounts import delete_account, save_account, set_administrator, set_one_time_password
from keys.api_access import IsAdministrator
from keys.issuing import check_name, issue_key, revoke_key
from keys.models import ApiKey, Team, User
from keys.validation import check_expiry

Result = TypeVar("Result")
# Where a secret is in an answer, no cache may keep it.
_SHOWN_ONCE = {"Cache-Control": "no-store"}


def _checked(rule: Callable[..., Result], *args: Any, **kwargs: Any) -> Result:
    """Apply one of the rooms' own rules and answer 400 with its words where it is broken."""
    try:
        return rule(*args, **kwargs)
    except ModelError as error:
        raise ValidationError(serializers.as_serializer_error(error)) from error


class TeamSerializer(serializers.ModelSerializer[Team]):
    class Meta:
        model = Team
        fields = ("id", "name", "timezone", "allowed_models", "created_at")


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    class Meta:
        model = ApiKey
        fields: ClassVar = [
            "id",
            "team",
            "name",
            "prefix",
            "allowed_models",
            "allowed_ips",
            "tags",
            "expires_at",
            "created_at",
            "revoked_at",
        ]
        read_only_fields = ("prefix", "revoked_at")
        # The rule for live keys alone is the model's; `issue_key` and `check_name` apply it.
        validators: ClassVar[list[Any]] = []

    def validate_expires_at(self, expires_at: datetime | None) -> datetime | None:
        _checked(check_expiry, expires_at, timezone.now())
        return expires_at

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        key = self.instance
        if key is None:
            return attrs
        if key.revoked_at is not None:
            raise ValidationError("A revoked key cannot be changed.")
        if attrs.get("team", key.team) != key.team:
            raise ValidationError({"team": "A key stays in its team; make another one there."})
        _checked(check_name, key.team, attrs.get("name", key.name), key.pk)
        return attrs


class NewKeySerializer(KeySerializer):
    """The answer to a new key: the only one with its secret."""

    secret = serializers.CharField(read_only=True)

    class Meta(KeySerializer.Meta):
        fields: ClassVar = [*KeySerializer.Meta.fields, "secret"]


class UserSerializer(serializers.ModelSerializer[User]):
    administrator = serializers.BooleanField(source="is_superuser", default=True)

    class Meta:
        model = User
        fields: ClassVar = [
            "id",
            "username",
            "email",
            "administrator",
            "is_active",
            "must_change_password",
            "date_joined",
            "last_login",
        ]
        read_only_fields = ("must_change_password", "date_joined", "last_login")

    def update(self, user: User, validated_data: dict[str, Any]) -> User:
        _take_role(user, validated_data)
        for name, value in validated_data.items():
            setattr(user, name, value)
        _checked(save_account, user)
        return user


class NewUserSerializer(UserSerializer):
    """The answer to a new user or a reset: the only one with the one-time password."""

    one_time_password = serializers.CharField(read_only=True)

    class Meta(UserSerializer.Meta):
        fields: ClassVar = [*UserSerializer.Meta.fields, "one_time_password"]


class TeamViewSet(ModelViewSet[Team]):
    """Teams. One that has had keys stays: what its keys spent refers to it."""

    queryset = Team.objects.all()
    serializer_class = TeamSerializer
    permission_classes = (IsAdministrator,)

    def perform_destroy(self, instance: Team) -> None:
        if instance.keys.exists():
            raise ValidationError("The team has keys, so it stays. Revoke them instead.")
        try:
            instance.delete()
        except ProtectedError as error:
            raise ValidationError("The team is in use, so it stays.") from error


class KeyViewSet(
    mixins.CreateModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    mixins.ListModelMixin,
    GenericViewSet[ApiKey],
):
    """API keys. They are revoked, never deleted; the secret is in the answer that makes one."""

    queryset = ApiKey.objects.select_related("team")
    serializer_class = KeySerializer
    permission_classes = (IsAdministrator,)

    @extend_schema(request=KeySerializer, responses={201: NewKeySerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        key, secret = _checked(issue_key, **serializer.validated_data)
        answer = {**self.get_serializer(key).data, "secret": secret}
        return Response(answer, status=status.HTTP_201_CREATED, headers=_SHOWN_ONCE)

    @extend_schema(request=None, responses=KeySerializer)
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: str) -> Response:
        key = self.get_object()
        revoke_key(key, timezone.now())
        return Response(self.get_serializer(key).data)


class UserViewSet(ModelViewSet[User]):
    """Users of the console. A new one gets a one-time password; one administrator remains."""

    queryset = User.objects.order_by("username")
    serializer_class = UserSerializer
    permission_classes = (IsAdministrator,)

    @extend_schema(request=UserSerializer, responses={201: NewUserSerializer})
    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        serializer = self.get_serializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        fields = serializer.validated_data
        user = User()
        _take_role(user, fields)
        for name, value in fields.items():
            setattr(user, name, value)
        return self._with_one_time_password(user, status.HTTP_201_CREATED)

    @extend_schema(request=None, responses=NewUserSerializer)
    @action(detail=True, methods=["post"])
    def reset_password(self, request: Request, pk: str) -> Response:
        return self._with_one_time_password(self.get_object(), status.HTTP_200_OK)

    def perform_destroy(self, instance: User) -> None:
        _checked(delete_account, instance)

    def _with_one_time_password(self, user: User, status_code: int) -> Response:
        password = set_one_time_password(user)
        _checked(save_account, user)
        answer = {**self.get_serializer(user).data, "one_time_password": password}
        return Response(answer, status=status_code, headers=_SHOWN_ONCE)


def _take_role(user: User, fields: dict[str, Any]) -> None:
    if "is_superuser" in fields:
        set_administrator(user, fields.pop("is_superuser"))
