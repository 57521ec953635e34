"""Who may use the management API: an administrator's session, or a staff token of one."""

from typing import TYPE_CHECKING

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from keys.models import StaffToken, User
from keys.secrets import hash_secret, is_well_formed_staff_token

if TYPE_CHECKING:
    # DRF's settings name this module, so importing its views here would go in a circle.
    from rest_framework.views import APIView

_BAD_TOKEN = "The staff token is malformed, unknown or revoked."  # noqa: S105 - a message


class StaffTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer gws_…`. A session is tried where no such header is sent."""

    def authenticate(self, request: Request) -> tuple[User, StaffToken] | None:
        scheme, _, sent = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        secret = sent.strip().decode("latin-1")
        if not is_well_formed_staff_token(secret):
            raise AuthenticationFailed(_BAD_TOKEN)
        token = (
            StaffToken.objects.select_related("user")
            .filter(token_hash=hash_secret(secret), revoked_at=None, user__is_active=True)
            .first()
        )
        if token is None:
            raise AuthenticationFailed(_BAD_TOKEN)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class IsAdministrator(BasePermission):
    message = "Only administrators may do this."

    def has_permission(self, request: Request, view: "APIView") -> bool:
        user = request.user
        return isinstance(user, User) and user.is_active and user.is_superuser


class StaffTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    target_class = StaffTokenAuthentication
    name = "staffToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A staff token, gws_…"}
