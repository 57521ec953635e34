"""Applying a config file to a database, and reading it back."""

from datetime import UTC, datetime
from io import StringIO

import pytest
import yaml
from django.core.management import CommandError, call_command

from billing.limit_edits import create_limit
from billing.models import Limit, Price
from gateway_project.config_file.applying import apply_config
from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.exporting import export_config
from keys.models import ApiKey, Team
from keys.secrets import hash_secret, make_secret
from keys.versions import read_version
from routing.base_urls import origin_of
from routing.credentials import unseal
from routing.models import Model, Provider, Target

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
CONFIG = """
providers:
  - {name: main, kind: openai, base_url: "http://127.0.0.1:9999/v1", api_key: env:MAIN_API_KEY}
  - {name: spare, kind: demo}
models:
  - name: gpt-4o
    strategy: weighted
    targets: [{provider: main, model: gpt-4o, weight: 2}, {provider: spare, model: demo}]
    fallbacks: [small]
  - {name: small, targets: [{provider: spare, model: demo}], max_output_tokens: 100}
  - {name: "gpt-*", targets: [{provider: main, model: "*"}]}
prices:
  - {provider: main, model: gpt-4o, effective_from: "2026-01-01T00:00:00Z", input: "2.50",
     output: "10.00", above: {input_tokens: 200000, input: "5.00", output: "15.00"}}
teams:
  - name: research
    timezone: Europe/Paris
    models: [gpt-4o, gpt-5]
    limits:
      - {unit: requests, window: minute, ceiling: 60}
      - {unit: usd, window: month, ceiling: "100.00"}
      - {unit: usd, window: month, ceiling: "80.00", soft: true, alert_at: [0.5, 1.0]}
    keys:
      - {name: ci, secret: env:RESEARCH_CI_KEY, limits: [{unit: concurrent, ceiling: 3}]}
"""
CI_KEY = make_secret()
VARIABLES = {"MAIN_API_KEY": "sk-upstream", "RESEARCH_CI_KEY": CI_KEY}


def apply(text=CONFIG, variables=VARIABLES, **options):
    return apply_config(text, variables, NOW, **options)


def test_everything_in_the_file_is_there_afterwards():
    apply()
    main = Provider.objects.get(name="main")
    assert unseal(main.credential, origin_of("openai", main.base_url)).reveal() == "sk-upstream"
    assert [target.weight for target in Model.objects.get(name="gpt-4o").targets.all()] == [2, 1]
    assert Price.objects.get(provider="main").above_output == 15 * 10**9
    team = Team.objects.get(name="research")
    assert {limit.timezone for limit in team.limits.all()} == {"Europe/Paris"}
    assert team.keys.get().secret_hash == hash_secret(CI_KEY)
    assert team.keys.get().limits.get().ceiling == 3


def test_applied_twice_it_changes_nothing():
    assert apply().changes
    assert apply().changes == []


def test_a_dry_run_says_the_same_and_writes_nothing():
    dry = apply(dry_run=True)
    assert not Provider.objects.exists()
    assert dry.changes == apply().changes


def test_an_edit_is_told_and_keeps_the_row():
    apply()
    limit = Limit.objects.get(unit="requests")
    report = apply(CONFIG.replace("ceiling: 60", "ceiling: 70").replace("weight: 2", "weight: 5"))
    assert report.changes == [
        "~ model gpt-4o: target main/gpt-4o weight 2 → 5",
        "~ limit research requests/minute: ceiling 60 → 70",
    ]
    limit.refresh_from_db()
    assert limit.ceiling == 70


def test_a_team_that_moves_takes_its_calendar_limits_along():
    apply()
    apply(CONFIG.replace("Europe/Paris", "Asia/Tokyo"))
    assert set(Limit.objects.filter(window="month").values_list("timezone", flat=True)) == {
        "Asia/Tokyo"
    }


def test_a_made_secret_is_told_once():
    text = "teams: [{name: a, keys: [{name: k}]}]"
    (line,) = apply(text).secrets
    name, secret = line.split(": ")
    assert name == "a/k"
    assert ApiKey.objects.get().secret_hash == hash_secret(secret)
    assert apply(text).secrets == []


def test_another_secret_makes_another_key_and_revokes_the_first():
    apply()
    other = make_secret()
    apply(variables={**VARIABLES, "RESEARCH_CI_KEY": other})
    assert ApiKey.objects.get(revoked_at=None).secret_hash == hash_secret(other)
    assert ApiKey.objects.get(secret_hash=hash_secret(CI_KEY)).revoked_at == NOW


def test_a_revoked_secret_does_not_come_back():
    apply()
    ApiKey.objects.update(revoked_at=NOW)
    with pytest.raises(ConfigError, match=r"^teams\[0\]\.keys\[0\]\.secret: belongs to another"):
        apply()


def test_a_credential_that_the_file_leaves_out_stays():
    apply()
    stored = Provider.objects.get(name="main").credential
    apply(CONFIG.replace(", api_key: env:MAIN_API_KEY", ""))
    assert Provider.objects.get(name="main").credential == stored


def test_a_model_has_exactly_the_targets_of_the_file():
    apply()
    report = apply(
        CONFIG.replace(", {provider: spare, model: demo}]\n    fallbacks", "]\n    fallbacks")
    )
    assert report.changes == ["~ model gpt-4o: target spare/demo removed"]


def test_a_new_price_is_a_new_row():
    apply()
    later = CONFIG.replace("2026-01-01", "2026-06-01").replace('"2.50"', '"2.00"')
    assert apply(later).changes == ["+ price main/gpt-4o from 2026-06-01"]
    assert Price.objects.filter(provider="main").count() == 2


def test_a_price_is_never_changed_in_place():
    apply()
    with pytest.raises(ConfigError, match=r"^prices\[0\]\.effective_from: another price"):
        apply(CONFIG.replace('"2.50"', '"2.00"'))


def test_what_the_file_does_not_name_stays():
    apply()
    apply("teams: [{name: other}]")
    assert Team.objects.count() == 2
    assert Model.objects.count() == 3


def test_prune_removes_what_the_file_does_not_name():
    apply()
    report = apply(
        "providers: [{name: spare, kind: demo}]\nteams: [{name: research, limits: "
        "[{unit: requests, window: minute, ceiling: 60}]}]",
        prune=True,
    )
    assert set(Provider.objects.values_list("name", flat=True)) == {"spare"}
    assert not Model.objects.exists()
    assert not Target.objects.exists()
    assert Limit.objects.get(key=None).unit == "requests"
    assert ApiKey.objects.get().revoked_at == NOW
    assert Price.objects.exists()
    assert "- key research/ci: revoked" in report.changes


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        (
            "models: [{name: m, targets: [{provider: mian, model: x}]}]",
            "models[0].targets[0].provider: there is no provider 'mian'; did you mean main?",
        ),
        (
            "models: [{name: m, targets: [{provider: spare, model: x}], fallbacks: [none]}]",
            "models[0].fallbacks[0]: there is no model 'none'",
        ),
        (
            "models: [{name: m, targets: [{provider: spare, model: x}], fallbacks: [m]}]",
            "models[0].fallbacks: A model cannot be its own fallback",
        ),
        ("teams: [{name: t, models: [small, mall]}]", "teams[0].models[1]: there is no model"),
        (
            "prices: [{provider: none, model: m, input: '1', output: '1'}]",
            "prices[0].provider: there is no provider 'none'",
        ),
        (
            "providers: [{name: p, kind: openai, base_url: 'http://10.1.2.3/v1'}]",
            "providers[0].base_url: 10.1.2.3:80 is not on the public internet",
        ),
    ],
)
def test_a_dangling_name_is_refused_and_nothing_is_changed(text, refusal):
    apply()
    with pytest.raises(ConfigError) as error:
        apply(f"{text}\n")
    assert str(error.value).startswith(refusal)
    assert apply().changes == []


def test_a_provider_that_moves_needs_its_credential_again():
    apply()
    moved = CONFIG.replace(":9999/v1", ":9998/v1").replace(", api_key: env:MAIN_API_KEY", "")
    with pytest.raises(ConfigError, match=r"^providers\[0\]\.api_key: The address has changed"):
        apply(moved)


def test_fallbacks_that_go_round_are_refused():
    circle = CONFIG.replace("max_output_tokens: 100", "fallbacks: [gpt-4o]")
    with pytest.raises(ConfigError, match=r"^models\[0\]\.fallbacks: The fallbacks go round"):
        apply(circle)


def test_an_application_without_change_wakes_no_worker():
    apply()
    before = read_version()
    apply()
    assert read_version() == before


def test_a_mistake_at_the_end_takes_back_what_came_before():
    with pytest.raises(ConfigError):
        apply(CONFIG + "  - {name: late, models: [nowhere]}\n")
    assert not Provider.objects.exists()


def test_an_export_gives_the_same_configuration_on_an_empty_gateway():
    apply()
    exported = export_config()
    assert "sk-upstream" not in exported
    for model in (Limit, ApiKey, Team, Target, Model, Provider, Price):
        model.objects.all().delete()
    apply(exported)
    assert yaml.safe_load(export_config()) == yaml.safe_load(exported)
    assert apply(CONFIG).changes == []


def test_a_keys_limit_that_came_over_the_api_is_the_same_in_the_file():
    apply()
    key = ApiKey.objects.get()
    limit = create_limit(
        key.team, key=key, unit="tokens", window="hour", ceiling=7, per="key", alert_at=[0.5]
    )
    exported = export_config()
    before = Limit.objects.count()
    apply(exported)
    assert Limit.objects.count() == before
    assert Limit.objects.filter(pk=limit.pk).exists()


def test_the_command_prints_changes_and_secrets(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text("teams: [{name: a, keys: [{name: k}]}]")
    out = StringIO()
    call_command("apply_config", str(file), stdout=out)
    assert out.getvalue().startswith("+ team a\n+ key a/k\na/k: gw_")


def test_the_command_refuses_with_one_line(tmp_path):
    file = tmp_path / "gateway.yaml"
    file.write_text("teams: [{nam: a}]")
    with pytest.raises(CommandError) as error:
        call_command("apply_config", str(file))
    assert str(error.value).startswith(f"{file}: teams[0].nam: no such field")
    assert "\n" not in str(error.value)
