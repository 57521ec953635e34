"""Applies a config file: everything is checked first, then written in one transaction."""

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction

from gateway_project.config_file.names import check_names
from gateway_project.config_file.pruning import prune as prune_unnamed
from gateway_project.config_file.reading import read_config
from gateway_project.config_file.report import Report
from gateway_project.config_file.routing_rows import apply_model, apply_price, apply_provider
from gateway_project.config_file.team_rows import apply_team
from keys.models import ConfigVersion


def apply_config(
    text: str,
    variables: Mapping[str, str],
    now: datetime,
    *,
    dry_run: bool = False,
    prune: bool = False,
) -> Report:
    """Bring the configuration to what a file says. Applied twice it changes nothing.

    Args:
        variables: the environment, for values written as `env:NAME`.
        dry_run: find out what would change, and take it all back.
        prune: also remove what the file does not name.

    Raises:
        ConfigError: begins with the path to what is wrong; nothing is changed then.
    """
    config = read_config(text, variables)
    report = Report()
    with transaction.atomic():
        # Two starts at once, on two hosts, apply their files one after the other.
        ConfigVersion.objects.select_for_update().first()
        fallbacks = check_names(config, prune=prune)
        for provider in config.providers:
            apply_provider(provider, report)
        for model in config.models:
            apply_model(model, report, fallbacks)
        for price in config.prices:
            apply_price(price, report, now)
        for team in config.teams:
            apply_team(team, report, now)
        if prune:
            prune_unnamed(config, report, now)
        transaction.set_rollback(dry_run)
    if dry_run:
        report.secrets.clear()
    return report
