"""Applies the teams of a config file, with their limits and keys."""

from datetime import datetime

from django.core.exceptions import ValidationError

from billing.ceilings import show_ceiling
from billing.limit_edits import change_limit, create_limit, identity_of
from billing.models import Limit
from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.entries import KeyEntry, LimitEntry, TeamEntry
from gateway_project.config_file.report import Report, assign, check, refusal
from keys.issuing import issue_key, revoke_key
from keys.models import ApiKey, Team
from keys.secrets import hash_secret


def apply_team(entry: TeamEntry, report: Report, now: datetime) -> None:
    values = {
        "timezone": entry.timezone,
        "allowed_models": None if entry.models is None else list(entry.models),
        "log_bodies": entry.log_bodies,
    }
    team = Team.objects.filter(name=entry.name).first()
    if team is None:
        team, differences = Team(name=entry.name, **values), ["new"]
        report.added(f"team {entry.name}")
    else:
        differences = assign(team, values)
        report.changed(f"team {entry.name}", differences)
    if differences:
        check(team, entry.path)
        team.save()
    _apply_limits(entry.limits, team, None, report)
    for key in entry.keys:
        _apply_key(key, team, report, now)


def _apply_key(entry: KeyEntry, team: Team, report: Report, now: datetime) -> None:
    key = live_key(team, entry.name)
    if key is not None and entry.secret and key.secret_hash != hash_secret(entry.secret):
        # A secret is what a key is: another one means another key.
        revoke_key(key, now)
        report.removed(f"key {key}: revoked, its secret is another")
        key = None
    if key is None:
        key = _issue(entry, team, report)
    elif differences := assign(key, _key_values(entry)):
        report.changed(f"key {key}", differences)
        check(key, entry.path)
        key.save()
    _apply_limits(entry.limits, team, key, report)


def live_key(team: Team, name: str) -> ApiKey | None:
    return ApiKey.objects.filter(team=team, name__iexact=name, revoked_at=None).first()


def _issue(entry: KeyEntry, team: Team, report: Report) -> ApiKey:
    if entry.secret and ApiKey.objects.filter(secret_hash=hash_secret(entry.secret)).exists():
        raise ConfigError(f"{entry.path}.secret", "belongs to another key, or to a revoked one")
    try:
        key, secret = issue_key(
            team,
            entry.name,
            secret=entry.secret,
            allowed_models=entry.models,
            allowed_ips=entry.allowed_ips,
            tags=entry.tags,
            expires_at=entry.expires_at,
        )
    except ValidationError as error:
        raise refusal(error, entry.path) from None
    report.added(f"key {key}")
    if entry.secret is None:
        report.secrets.append(f"{key}: {secret}")
    return key


def _key_values(entry: KeyEntry) -> dict[str, object]:
    return {
        "allowed_models": None if entry.models is None else list(entry.models),
        "allowed_ips": list(entry.allowed_ips),
        "tags": dict(entry.tags),
        "expires_at": entry.expires_at,
    }


def _apply_limits(
    entries: tuple[LimitEntry, ...], team: Team, key: ApiKey | None, report: Report
) -> None:
    present = {identity_of(limit): limit for limit in Limit.objects.filter(team=team, key=key)}
    for entry in entries:
        try:
            _apply_limit(entry, present.get(entry.identity), team, key, report)
        except ValidationError as error:
            raise refusal(error, entry.path) from None


def _apply_limit(
    entry: LimitEntry, limit: Limit | None, team: Team, key: ApiKey | None, report: Report
) -> None:
    if limit is None:
        limit = create_limit(
            team,
            key=key,
            unit=entry.unit,
            window=entry.window,
            per=entry.per,
            ceiling=entry.ceiling,
            soft=entry.soft,
            alert_at=entry.alert_at,
        )
        report.added(f"limit {describe(limit)}: {show_ceiling(limit.unit, limit.ceiling)}")
        return
    differences = []
    if limit.ceiling != entry.ceiling:
        before, after = (show_ceiling(entry.unit, at) for at in (limit.ceiling, entry.ceiling))
        differences.append(f"ceiling {before} → {after}")
    if limit.alert_at != list(entry.alert_at):
        differences.append(f"alert_at {limit.alert_at} → {list(entry.alert_at)}")
    if differences:
        change_limit(limit, ceiling=entry.ceiling, alert_at=list(entry.alert_at))
        report.changed(f"limit {describe(limit)}", differences)


def describe(limit: Limit) -> str:
    """Which limit it is: `research usd/month`, `research/ci requests/minute (soft)`."""
    window = f"/{limit.window}" if limit.window else ""
    subject = "" if limit.per == "team" else f" per {limit.get_per_display()}"
    return f"{limit.key or limit.team} {limit.unit}{window}{subject}{' (soft)' * limit.soft}"
