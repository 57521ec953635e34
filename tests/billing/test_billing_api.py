"""The management API of limits, prices, ledger and exports."""

import asyncio
import json
from contextlib import aclosing

import pytest
from django.test import Client

from billing.csv_response import CsvResponse
from billing.exports import costs_csv, read_export
from billing.models import Limit, Price
from billing.pricing import NANO_PER_USD
from keys.models import Team, User
from routing.models import Provider
from tests.billing.ledger_filling import call, fill

pytestmark = pytest.mark.django_db

DAYS = {"from": "2026-03-10", "to": "2026-03-10"}
PRICE = {"kind": "openai", "model": "gpt-4o", "input": "2.50", "output": "10.00"}


@pytest.fixture
def administrator() -> User:
    return User.objects.create_superuser("admin")


@pytest.fixture
def api(administrator) -> Client:
    client = Client()
    client.force_login(administrator)
    return client


@pytest.fixture
def team() -> Team:
    return Team.objects.create(name="research", timezone="Europe/Paris")


def send(api: Client, method: str, address: str, **body):
    return api.generic(method, address, json.dumps(body), content_type="application/json")


@pytest.mark.parametrize(
    "address", ["limits/", "prices/", "ledger/", "costs.csv", "costs/summary.csv"]
)
def test_only_administrators_get_in_R8(address):
    client = Client()
    assert client.get(f"/api/{address}").status_code in (401, 403)
    client.force_login(User.objects.create_user("developer"))
    assert client.get(f"/api/{address}").status_code == 403


def test_a_budget_is_dollars_both_ways(api, team):
    answer = send(
        api, "POST", "/api/limits/", team=team.pk, unit="usd", window="month", ceiling="100.00",
        alert_at=[0.5],
    )  # fmt: skip
    assert answer.status_code == 201
    assert answer.json()["ceiling"] == "100.00"
    limit = Limit.objects.get()
    assert (limit.ceiling, limit.timezone) == (100 * NANO_PER_USD, "Europe/Paris")


def test_other_ceilings_are_whole_numbers(api, team):
    answer = send(
        api, "POST", "/api/limits/", team=team.pk, unit="requests", window="minute", ceiling=60
    )
    assert answer.json()["ceiling"] == 60


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("ceiling", {"ceiling": 1.5}),
        ("ceiling", {"ceiling": True}),
        ("ceiling", {"ceiling": "-1"}),
        ("ceiling", {"ceiling": "0.0000000001"}),
        ("window", {"window": ""}),
        ("unit", {"unit": "euros"}),
        ("team", {"team": 999_999}),
        ("alert_at", {"alert_at": [99]}),
    ],
)
def test_a_bad_limit_is_refused_by_field(api, team, field, changed):
    body = {"team": team.pk, "unit": "usd", "window": "month", "ceiling": "1", **changed}
    answer = send(api, "POST", "/api/limits/", **body)
    assert answer.status_code == 400
    assert list(answer.json()) == [field]
    assert not Limit.objects.exists()


def test_a_second_limit_that_counts_the_same_is_refused(api, team):
    body = {"team": team.pk, "unit": "usd", "window": "month", "ceiling": "1"}
    assert send(api, "POST", "/api/limits/", **body).status_code == 201
    again = send(api, "POST", "/api/limits/", **{**body, "ceiling": "2"})
    assert (again.status_code, list(again.json())) == (400, ["unit"])
    day = send(api, "POST", "/api/limits/", **{**body, "window": "day"})
    changed = send(api, "PATCH", f"/api/limits/{day.json()['id']}/", window="month")
    assert (changed.status_code, list(changed.json())) == (400, ["unit"])
    assert sorted(Limit.objects.values_list("window", flat=True)) == ["day", "month"]


def test_a_new_ceiling_keeps_the_limit(api, team):
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=1)
    answer = send(api, "PATCH", f"/api/limits/{limit.pk}/", ceiling="7")
    assert (answer.json()["id"], answer.json()["ceiling"]) == (limit.pk, "7.00")


def test_another_window_makes_another_limit(api, team):
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=1)
    answer = send(api, "PATCH", f"/api/limits/{limit.pk}/", window="day")
    assert answer.status_code == 200
    assert answer.json()["id"] != limit.pk
    assert Limit.objects.get().window == "day"


def test_a_limit_stays_with_its_team(api, team):
    limit = Limit.objects.create(team=team, unit="usd", window="month", ceiling=1)
    other = Team.objects.create(name="other")
    answer = send(api, "PATCH", f"/api/limits/{limit.pk}/", team=other.pk)
    assert answer.status_code == 400


def test_limits_can_be_those_of_one_team(api, team):
    other = Team.objects.create(name="other")
    Limit.objects.create(team=team, unit="usd", window="month", ceiling=1)
    mine = Limit.objects.create(team=other, unit="usd", window="month", ceiling=1)
    found = api.get(f"/api/limits/?team={other.pk}").json()["results"]
    assert [limit["id"] for limit in found] == [mine.pk]


def test_a_price_is_dollars_both_ways(api):
    answer = send(api, "POST", "/api/prices/", **PRICE, cached_input="1.25")
    assert answer.status_code == 201
    shown = answer.json()
    assert (shown["input"], shown["cached_input"], shown["cache_write"]) == (
        "2.500000000", "1.250000000", None,
    )  # fmt: skip
    assert Price.objects.get().input == 2_500_000_000


def test_a_price_may_be_of_one_provider(api):
    Provider.objects.create(name="main", kind="openai")
    answer = send(api, "POST", "/api/prices/", **{**PRICE, "provider": "main", "kind": ""})
    assert (answer.status_code, answer.json()["provider"]) == (201, "main")


def test_the_same_price_again_is_the_one_that_holds(api):
    first = send(api, "POST", "/api/prices/", **PRICE)
    again = send(api, "POST", "/api/prices/", **PRICE)
    assert (again.status_code, again.json()) == (200, first.json())


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("input", {"input": 2.5}),
        ("input", {"input": "-1"}),
        ("provider", {"provider": "main"}),
        ("provider", {"provider": "nowhere", "kind": ""}),
        ("above_output", {"above_output": "1"}),
        ("model", {"model": ""}),
    ],
)
def test_a_bad_price_is_refused_by_field(api, field, changed):
    answer = send(api, "POST", "/api/prices/", **{**PRICE, **changed})
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_a_price_is_never_changed(api, method):
    price = send(api, "POST", "/api/prices/", **PRICE).json()
    answer = send(api, method, f"/api/prices/{price['id']}/", **{**PRICE, "input": "9"})
    assert answer.status_code == 405


def test_the_ledger_is_read_in_pages(api):
    fill(call(request_id="old"), call(request_id="new", cost_nano_usd=None))
    first = api.get("/api/ledger/?rows=1").json()
    second = api.get("/api/ledger/", {"rows": 1, "cursor": first["older"]}).json()
    shown = first["results"] + second["results"]
    assert [(entry["request_id"], entry["cost_usd"]) for entry in shown] == [
        ("new", None), ("old", "0.000725000"),
    ]  # fmt: skip
    assert second["older"] is None


def test_the_ledger_can_be_narrowed(api):
    fill(call(status="error", request_id="bad"), call())
    found = api.get("/api/ledger/?status=error&team=1").json()["results"]
    assert [entry["request_id"] for entry in found] == ["bad"]


@pytest.mark.parametrize("query", ["cursor=x", "rows=0", "team=x", "start=yesterday"])
def test_a_bad_question_to_the_ledger_is_400(api, query):
    assert api.get(f"/api/ledger/?{query}").status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_the_ledger_cannot_be_written(api, method):
    assert send(api, method, "/api/ledger/").status_code == 405


def test_the_export_has_the_bytes_of_the_command(api):
    fill(call(), call())
    answer = api.get("/api/costs.csv", DAYS)
    expected = read_export(first="2026-03-10", last="2026-03-10")
    assert b"".join(answer) == b"".join(costs_csv(expected))
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == (
        'attachment; filename="costs-2026-03-10-2026-03-10.csv"'
    )
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_summary_is_grouped_as_asked(api):
    fill(call())
    answer = api.get("/api/costs/summary.csv", {**DAYS, "group_by": "team,day", "excel": "1"})
    lines = b"".join(answer).decode("utf-8-sig").splitlines()
    assert lines[1] == "research;2026-03-10;1;100;20;50;0.000725000"


@pytest.mark.parametrize(
    ("field", "asked"),
    [
        ("from", {"from": ""}),
        ("to", {"to": "soon"}),
        ("team", {"team": "nobody"}),
        ("timezone", {"timezone": "Mars"}),
        ("excel", {"excel": "maybe"}),
        ("group_by", {"group_by": "planet"}),
    ],
)
def test_a_bad_export_is_refused_by_field(api, field, asked):
    answer = api.get("/api/costs/summary.csv", {**DAYS, "group_by": "day", **asked})
    assert answer.status_code == 400
    assert list(answer.json()) == [field]


def test_a_client_may_accept_csv_alone(api):
    assert api.get("/api/costs.csv", DAYS, headers={"accept": "text/csv"}).status_code == 200
    bad = api.get("/api/costs.csv", headers={"accept": "text/csv"})
    assert bad.status_code == 400
    assert b"from must be a date" in bad.content


def test_exports_are_counted_per_user(api, monkeypatch):
    monkeypatch.setattr("billing.export_api.EXPORTS_PER_USER", "2/h")
    answers = [api.get("/api/costs.csv", DAYS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_an_asynchronous_server_gets_each_piece_as_it_is_made():
    made = []

    def pieces():
        for number in range(3):
            made.append(number)
            yield b"%d" % number

    async def first_piece():
        async with aclosing(CsvResponse(pieces(), "costs.csv").__aiter__()) as sent:
            return await anext(sent)

    assert asyncio.run(first_piece()) == b"0"
    assert made == [0]
