from django.apps import AppConfig
from django.db.models.signals import post_migrate, pre_migrate

from keys import triggers, versions


class KeysConfig(AppConfig):
    name = "keys"

    def ready(self) -> None:
        versions.register(self.get_model("Team"))
        versions.register(self.get_model("ApiKey"))
        pre_migrate.connect(triggers.remove_triggers, sender=self)
        post_migrate.connect(triggers.install_triggers, sender=self)
        post_migrate.connect(versions.ensure_version_row, sender=self)
