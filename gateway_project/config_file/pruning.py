"""Removes what a config file does not name. The ledger and the price book are never touched."""

from datetime import datetime

from django.db.models import QuerySet

from billing.limit_edits import identity_of
from billing.models import Limit
from gateway_project.config_file.entries import ConfigFile, LimitEntry, TeamEntry
from gateway_project.config_file.report import Report
from gateway_project.config_file.team_rows import describe
from keys.issuing import revoke_key
from keys.models import ApiKey, Team
from routing.models import Model, Provider


def prune(config: ConfigFile, report: Report, now: datetime) -> None:
    teams = {entry.name: entry for entry in config.teams}
    for team in Team.objects.all():
        if team.name in teams:
            _prune_team(team, teams[team.name], report, now)
        else:
            report.removed(f"team {team.name}")
            team.delete()
    for model in Model.objects.exclude(name__in=[entry.name for entry in config.models]):
        report.removed(f"model {model.name}")
        model.delete()
    for provider in Provider.objects.exclude(name__in=[entry.name for entry in config.providers]):
        report.removed(f"provider {provider.name}")
        provider.delete()


def _prune_team(team: Team, entry: TeamEntry, report: Report, now: datetime) -> None:
    _prune_limits(Limit.objects.filter(team=team, key=None), entry.limits, report)
    keys = {key.name.lower(): key for key in entry.keys}
    for key in ApiKey.objects.filter(team=team, revoked_at=None):
        if key.name.lower() in keys:
            limits = Limit.objects.filter(key=key)
            _prune_limits(limits, keys[key.name.lower()].limits, report)
        else:
            revoke_key(key, now)
            report.removed(f"key {key}: revoked")


def _prune_limits(limits: QuerySet[Limit], entries: tuple[LimitEntry, ...], report: Report) -> None:
    kept = {entry.identity for entry in entries}
    for limit in limits:
        if identity_of(limit) not in kept:
            report.removed(f"limit {describe(limit)}")
            limit.delete()
