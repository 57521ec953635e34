from django.apps import AppConfig

from billing import provider_names
from keys import model_names, versions


class RoutingConfig(AppConfig):
    name = "routing"

    def ready(self) -> None:
        versions.register(self.get_model("Provider"))
        versions.register(self.get_model("Model"))
        versions.register(self.get_model("Target"))
        providers = self.get_model("Provider")._default_manager
        provider_names.offer_providers(lambda: providers.values_list("name", flat=True))
        models = self.get_model("Model")._default_manager
        model_names.offer_names(lambda: models.values_list("name", flat=True))
