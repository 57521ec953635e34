"""What a config file may say, and how a mistake in it is told."""

from datetime import UTC, datetime
from textwrap import dedent

import pytest

from gateway_project.config_file.document import ConfigError
from gateway_project.config_file.reading import read_config
from keys.secrets import make_secret

WHOLE = """
providers:
  - name: openai-main
    kind: openai
    base_url: https://api.example/v1
    api_key: env:OPENAI_API_KEY
    connect_timeout_seconds: 2
    timeout_seconds: 60
    stream_idle_timeout_seconds: 60
    total_timeout_seconds: 600
    on_disconnect: drain
models:
  - name: gpt-4o
    strategy: weighted
    targets:
      - {provider: openai-main, model: gpt-4o, priority: 1, weight: 2, price_as: gpt-4o}
    fallbacks: [claude-sonnet]
    max_attempts: 3
    max_output_tokens: 16384
    cache_ttl_seconds: 0
  - name: "gpt-*"
    targets: [{provider: openai-main, model: "*"}]
prices:
  - {provider: openai-main, model: gpt-4o, effective_from: 2026-01-01T00:00:00Z, input: "2.50",
     cached_input: "1.25", cache_write: "0", cache_write_1h: "0", output: "10.00",
     above: {input_tokens: 200000, input: "5.00", output: "15.00"}}
teams:
  - name: research
    timezone: Europe/Paris
    models: [gpt-4o]
    log_bodies: false
    limits:
      - {unit: requests, window: minute, ceiling: 60}
      - {unit: concurrent, ceiling: 20}
      - {unit: usd, window: month, ceiling: "100.00"}
      - {unit: usd, window: day, ceiling: "5.00", soft: true, alert_at: [0.5, 0.8, 1.0]}
      - {unit: requests, window: minute, ceiling: 10, per: end_user}
    keys:
      - name: ci
        secret: env:CI_KEY
        expires_at: 2030-12-31
        allowed_ips: [10.0.0.0/8]
        tags: {env: prod}
        limits: [{unit: usd, window: total, ceiling: "1"}]
"""
VARIABLES = {"OPENAI_API_KEY": "sk-upstream", "CI_KEY": make_secret()}


def read(text: str):
    return read_config(dedent(text), VARIABLES)


def test_every_field_is_read():
    config = read(WHOLE)
    (provider,) = config.providers
    assert (provider.api_key, provider.on_disconnect) == ("sk-upstream", "drain")
    model, pattern = config.models
    assert (model.targets[0].weight, model.fallbacks) == (2, ("claude-sonnet",))
    assert (pattern.name, pattern.max_output_tokens) == ("gpt-*", None)
    (price,) = config.prices
    assert price.effective_from == datetime(2026, 1, 1, tzinfo=UTC)
    assert (price.price.input, price.price.above_output) == (2_500_000_000, 15_000_000_000)
    (team,) = config.teams
    assert [limit.ceiling for limit in team.limits] == [60, 20, 100 * 10**9, 5 * 10**9, 10]
    assert team.limits[3].alert_at == (0.5, 0.8, 1.0)
    (key,) = team.keys
    assert key.secret == VARIABLES["CI_KEY"]
    assert key.limits[0].ceiling == 10**9


def test_no_secret_shows_in_a_record():
    shown = repr(read(WHOLE))
    assert "sk-upstream" not in shown
    assert VARIABLES["CI_KEY"] not in shown


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "the file is empty"),
        ("- a", "must be an object with fields"),
        ("teams: [", "line 1: is no YAML"),
        ("teams: []\nteams: []", "line 2: teams is given twice"),
        ("team: []", "team: no such field"),
        ("teams: {a: 1}", "teams: must be a list"),
        ("teams: [{timezone: UTC}]", "teams[0].name: is missing"),
        ("teams: [{name: 5}]", "teams[0].name: must be a text"),
        ("teams: [{name: a}, {name: a}]", "teams[1]: is the same as teams[0]"),
        ("teams: [{name: a, timezone: Europe/Pari}]", "teams[0].timezone: “Europe/Pari” is no"),
        ("teams: [{name: a, timezone: localtime}]", "teams[0].timezone: “localtime” is no IANA"),
        (
            "teams: [{name: a, log_bodies: true}]",
            "teams[0].log_bodies: not available in this version; only false is",
        ),
        ("teams: [{name: a, log_bodies: yes}]", "teams[0].log_bodies: must be true or false"),
        ("teams: [{name: a, models: ['a b']}]", "teams[0].models[0]: “a b” is no model name"),
        ("teams: [{name: a, keys: [{name: k, secret: gw_x}]}]", "teams[0].keys[0].secret: is no"),
        ("teams: [{name: a, keys: [{name: k, secret: env:NO}]}]", "teams[0].keys[0].secret: the"),
        ("teams: [{name: a, keys: [{name: k}, {name: K}]}]", "teams[0].keys[1]: is the same as"),
        ("teams: [{name: a, keys: [{name: k, tags: {a: 1}}]}]", "teams[0].keys[0].tags: The tag"),
        (
            "teams: [{name: a, keys: [{name: k, allowed_ips: [10.0.0.0/8, 10.0.0.1/8]}]}]",
            "teams[0].keys[0].allowed_ips[1]: “10.0.0.1/8” has bits below its mask",
        ),
        (
            "teams: [{name: a, keys: [{name: k, expires_at: tomorrow}]}]",
            "teams[0].keys[0].expires_at: “tomorrow” is no date",
        ),
        ("providers: [{name: p, kind: azure}]", "providers[0].kind: azure is not available in"),
        ("providers: [{name: p, kind: opena}]", "providers[0].kind: must be one of openai"),
        (
            "providers: [{name: p, kind: openai, api_version: v1}]",
            "providers[0].api_version: not available in this version",
        ),
        (
            "providers: [{name: p, kind: openai, base_url: ftp://a}]",
            "providers[0].base_url: A base URL begins with https",
        ),
        (
            "providers: [{name: p, kind: openai, timeout_seconds: 0}]",
            "providers[0].timeout_seconds: must be over 0",
        ),
        ("models: [{name: m}]", "models[0].targets: needs at least one target"),
        (
            "models: [{name: m, cache_ttl_seconds: 60, targets: []}]",
            "models[0].cache_ttl_seconds: not available in this version",
        ),
        (
            "models: [{name: m, targets: [{provider: p, model: x}, {provider: p, model: x}]}]",
            "models[0].targets[1]: is the same as models[0].targets[0]",
        ),
        (
            "prices: [{model: m, input: '1', output: '1'}]",
            "prices[0]: give either provider or kind",
        ),
        (
            "prices: [{kind: openai, model: m, input: 2.5, output: '1'}]",
            "prices[0].input: must be an amount in quotes",
        ),
        (
            "prices: [{kind: openai, model: m, input: '-1', output: '1'}]",
            "prices[0].input: '-1' is not a dollar amount",
        ),
        (
            "prices: [{kind: openai, model: m, input: 1, output: 1, effective_from: May}]",
            "prices[0].effective_from: must be like 2026-01-01T00:00:00Z",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_path(text, refusal):
    with pytest.raises(ConfigError) as error:
        read(text)
    assert str(error.value).startswith(refusal)


@pytest.mark.parametrize(
    ("limit", "refusal"),
    [
        ("{unit: request, window: minute, ceiling: 1}", "unit: must be one of requests"),
        ("{unit: requests, ceiling: 1}", "window: is missing"),
        ("{unit: requests, window: second, ceiling: 1}", "window: must be one of minute"),
        ("{unit: concurrent, window: day, ceiling: 1}", "window: a concurrent limit has no"),
        ("{unit: concurrent, ceiling: 1, soft: true}", "soft: a concurrent limit only refuses"),
        ("{unit: concurrent, ceiling: 1, alert_at: [1]}", "alert_at: a concurrent limit only"),
        ("{unit: requests, window: day}", "ceiling: is missing"),
        ("{unit: requests, window: day, ceiling: -1}", "ceiling: must be a whole number"),
        ("{unit: requests, window: day, ceiling: true}", "ceiling: must be a whole number"),
        ("{unit: usd, window: day, ceiling: 1.5}", "ceiling: must be an amount in quotes"),
        ("{unit: usd, window: day, ceiling: '1.0000000001'}", "ceiling: '1.0000000001' is not"),
        ("{unit: usd, window: day, ceiling: '1', per: user}", "per: must be one of team"),
        ("{unit: usd, window: day, ceiling: '1', alert_at: [20]}", "alert_at[0]: must be over 0"),
    ],
)
def test_a_mistake_in_a_limit_is_refused_with_its_path(limit, refusal):
    with pytest.raises(ConfigError) as error:
        read(f"teams: [{{name: a, limits: [{limit}]}}]")
    assert str(error.value).startswith(f"teams[0].limits[0].{refusal}")


def test_what_looks_like_a_boolean_to_old_yaml_is_a_text():
    assert read("teams: [{name: no}, {name: 'on'}]").teams[0].name == "no"


def test_a_refusal_repeats_no_secret():
    with pytest.raises(ConfigError) as error:
        read("teams: [{name: a, keys: [{name: k, secret: gw_almost}]}]")
    assert "gw_almost" not in str(error.value)
