from typing import Any

from django.apps import AppConfig, apps
from django.contrib.admin.apps import AdminConfig
from django.core.checks import register
from django.core.management import call_command
from django.db.models.signals import post_migrate

from gateway_project.checks import data_dir_outlives_the_process


class ConsoleConfig(AdminConfig):
    """Django's admin application with the gateway's own site as `admin.site`."""

    default_site = "gateway_project.admin_site.GatewayAdminSite"


class GatewayProjectConfig(AppConfig):
    name = "gateway_project"

    def ready(self) -> None:
        register(data_dir_outlives_the_process)
        # Not of our own: Django sends the signal of applications with models alone.
        post_migrate.connect(_create_cache_table, sender=apps.get_app_config("keys"))


def _create_cache_table(using: str, verbosity: int, **_: Any) -> None:
    # Does nothing where the cache is Redis, or the table is there.
    call_command("createcachetable", database=using, verbosity=verbosity)
