"""The management API's alerts: what was found, and whether it has been told."""

from typing import ClassVar

from rest_framework import serializers
from rest_framework.viewsets import ReadOnlyModelViewSet

from billing.models import Alert
from keys.api_access import IsAdministrator


class AlertSerializer(serializers.ModelSerializer[Alert]):
    title = serializers.CharField(source="says.title", read_only=True)
    details = serializers.DictField(
        source="says.data", read_only=True, help_text="`data` of the webhook's body."
    )

    class Meta:
        model = Alert
        fields: ClassVar = [
            "id",
            "kind",
            "title",
            "details",
            "created_at",
            "told_by",
            "mailed_to",
            "mailed_at",
            "posted_at",
            "attempts",
            "next_try_at",
            "last_error",
        ]


class AlertViewSet(ReadOnlyModelViewSet[Alert]):
    """Alerts, newest first. They are found and sent by the gateway alone."""

    queryset = Alert.objects.order_by("-created_at", "pk")
    serializer_class = AlertSerializer
    permission_classes = (IsAdministrator,)
