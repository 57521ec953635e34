from django.apps import AppConfig

from billing.ceiling_copies import register_ceiling_copies
from keys import versions


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        versions.register(self.get_model("Limit"))
        versions.register(self.get_model("Price"))
        register_ceiling_copies()
