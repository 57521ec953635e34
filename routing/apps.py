from django.apps import AppConfig

from keys import versions


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        versions.register(self.get_model("Provider"))
        versions.register(self.get_model("Model"))
        versions.register(self.get_model("Target"))
