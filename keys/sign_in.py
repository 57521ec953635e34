"""Signing in to the console: guessing is slowed down, and a one-time password is changed first."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.urls import reverse
from unfold.forms import AuthenticationForm

from keys.client_address import request_ip
from keys.models import User
from keys.throttle import address_group, seconds_to_wait

# Fixed windows that everybody can wait for: guessing is slow, nobody is locked out for good.
# An account is counted for each address apart too, or a stranger could use up its tries.
_PER_ADDRESS = "20/m"
_PER_ACCOUNT_AND_ADDRESS = "5/m"
_PER_ACCOUNT = "60/m"


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # unfold brings no types
    """The sign-in form of the console. It says the same of unknown names and bad passwords."""

    def clean(self) -> dict[str, Any]:
        wait = self._seconds_to_wait()
        if wait:
            unit = "second" if wait == 1 else "seconds"
            raise ValidationError(
                f"Too many attempts to sign in. Try again in {wait} {unit}.", code="throttled"
            )
        cleaned: dict[str, Any] = super().clean()
        return cleaned

    def _seconds_to_wait(self) -> int:
        address = address_group(request_ip(self.request))
        account = str(self.cleaned_data.get("username", "")).casefold()
        return (
            seconds_to_wait("sign_in_address", address, _PER_ADDRESS)
            or seconds_to_wait("sign_in_both", f"{address} {account}", _PER_ACCOUNT_AND_ADDRESS)
            or seconds_to_wait("sign_in_account", account, _PER_ACCOUNT)
        )


class PasswordChangeFirst:
    """Middleware: who signed in with a one-time password sees its change and nothing else."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if not isinstance(user, User) or not user.must_change_password:
            return self._get_response(request)
        change = reverse("admin:password_change")
        if request.path in {change, reverse("admin:logout"), reverse("admin:jsi18n")}:
            return self._get_response(request)
        if request.path.startswith("/api/"):
            return JsonResponse({"detail": "Change your one-time password first."}, status=403)
        return HttpResponseRedirect(change)


class NewPasswordValidator:
    """Refuses the password that is being changed, so that a one-time password ends for good."""

    def validate(self, password: str, user: User | None = None) -> None:
        if user is not None and user.password and user.check_password(password):
            raise ValidationError("This is the present password. Choose another one.")

    def get_help_text(self) -> str:
        return "The new password must differ from the present one."
