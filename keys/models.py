"""Who is calling: users and their roles, teams, API keys, staff tokens, the version row."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower

from keys.validation import (
    validate_model_names,
    validate_networks,
    validate_tags,
    validate_timezone,
)


class User(AbstractUser):
    """Somebody who signs in to the console. `is_superuser` is the administrator role."""

    must_change_password = models.BooleanField(
        default=False,
        editable=False,
        help_text="Set for a one-time password; cleared when it is changed.",
    )

    def set_password(self, raw_password: str | None) -> None:
        """Take a new password; whoever sets a one-time one marks it as such afterwards."""
        super().set_password(raw_password)
        self.must_change_password = False


class Team(models.Model):
    name = models.CharField(max_length=100, unique=True)
    timezone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[validate_timezone],
        help_text="IANA name. Days, weeks and months begin in it.",
    )
    allowed_models = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_model_names],
        help_text="Names its keys may call, * allowed; empty means all.",
    )
    log_bodies = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """A user's role in one team; roles beyond administrator come with the console."""

    class Role(models.TextChoices):
        FINANCE = "finance"
        TEAM_LEAD = "team_lead", "team lead"
        DEVELOPER = "developer"

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role.choices)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "team"], name="one_role_per_user_and_team")
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role} of {self.team})"


class ApiKey(models.Model):
    """A key that we hand out. The secret itself is never stored: only its hash and prefix."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=100)
    secret_hash = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=12, editable=False)
    allowed_models = models.JSONField(
        null=True,
        blank=True,
        validators=[validate_model_names],
        help_text="Names this key may call, * allowed; empty means all.",
    )
    allowed_ips = models.JSONField(
        default=list,
        blank=True,
        validators=[validate_networks],
        help_text="Addresses or networks; empty means any.",
    )
    tags = models.JSONField(
        default=dict,
        blank=True,
        validators=[validate_tags],
        help_text="Every call of the key carries them.",
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering: ClassVar = ["team__name", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                "team",
                Lower("name"),
                condition=models.Q(revoked_at=None),
                name="one_live_key_per_team_and_name",
                violation_error_message="The team already has a live key of this name.",
            )
        ]

    def __str__(self) -> str:
        return f"{self.team}/{self.name}"


class StaffToken(models.Model):
    """Signs a program in to the management API as its user. Only the hash is stored."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    prefix = models.CharField(max_length=12, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)

    def __str__(self) -> str:
        return f"{self.user}/{self.name}"


class ConfigVersion(models.Model):
    """One row, raised by a database trigger in the transaction of every configuration edit.

    Workers poll it; see `keys/versions.py`.
    """

    number = models.BigIntegerField(default=1)

    def __str__(self) -> str:
        return str(self.number)
