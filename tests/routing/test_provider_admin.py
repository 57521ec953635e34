"""Providers and models in the console and over the management API."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from keys.models import User
from routing.credentials import unseal
from routing.models import Model, Provider
from tests.fake_provider import FakeProvider

SECRET = "sk-very-secret-9876"
TIMES = {
    "connect_timeout_seconds": 2,
    "timeout_seconds": 60,
    "stream_idle_timeout_seconds": 60,
    "total_timeout_seconds": 600,
    "on_disconnect": "cancel",
}


@pytest.fixture
def console(db: Any) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def api(db: Any) -> APIClient:
    client = APIClient()
    client.force_authenticate(User.objects.create_superuser("root"))
    return client


def add(console: Client, **changes: Any) -> Any:
    fields = {"kind": "openai", "name": "main", "base_url": "", "new_credential": SECRET}
    return console.post(
        reverse("admin:routing_provider_add"), TIMES | fields | changes, follow=True
    )


def change(console: Client, provider: Provider, **changes: Any) -> Any:
    address = reverse("admin:routing_provider_change", args=[provider.pk])
    fields = {"base_url": provider.base_url, "enabled": "on"}
    return console.post(address, TIMES | fields | changes, follow=True)


def test_a_provider_is_added_with_its_usual_models(console: Client):
    add(console, add_usual_models="on")
    assert Provider.objects.get().name == "main"
    assert Model.objects.filter(name="gpt-4o", targets__provider__name="main").exists()


def test_without_the_tick_no_model_is_added(console: Client):
    add(console)
    assert not Model.objects.exists()


def test_r43_a_credential_is_stored_sealed_and_never_shown_again(console: Client):
    add(console)
    provider = Provider.objects.get()
    page = console.get(reverse("admin:routing_provider_change", args=[provider.pk]))
    assert SECRET not in provider.credential
    assert unseal(provider.credential, "https://api.openai.com:443").reveal() == SECRET
    assert SECRET not in page.content.decode()
    assert "ends in …9876" in page.content.decode()


def test_an_empty_credential_field_keeps_what_is_stored(console: Client):
    add(console)
    before = Provider.objects.get().credential
    change(console, Provider.objects.get(), timeout_seconds=30)
    assert Provider.objects.get().credential == before
    assert Provider.objects.get().timeout_seconds == 30


def test_g28_a_new_origin_demands_a_new_credential(console: Client):
    add(console)
    page = change(console, Provider.objects.get(), base_url="https://other.example/v1")
    assert "has to be entered again" in page.content.decode()
    assert Provider.objects.get().base_url == ""


def test_a_private_address_is_refused_with_the_line_to_add(console: Client):
    page = add(console, base_url="http://10.0.0.7:8000/v1")
    assert "ALLOW_PRIVATE_UPSTREAMS=10.0.0.7:8000" in page.content.decode()
    assert not Provider.objects.exists()


def test_the_name_of_a_provider_stays(console: Client):
    add(console)
    change(console, Provider.objects.get(), name="other")
    assert Provider.objects.get().name == "main"


@pytest.mark.django_db(transaction=True)
def test_the_connection_is_tested_by_a_button(console: Client, fake_provider: FakeProvider):
    button = {"routing_provider_test_connection": "1"}
    add(console, base_url=fake_provider.openai_url)
    page = change(console, Provider.objects.get(), **button)
    assert fake_provider.seen[-1].request.path == "/v1/models"
    assert "The provider answered" in page.content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_fails_is_told_without_the_address(
    console: Client, fake_provider: FakeProvider
):
    add(console, base_url=fake_provider.openai_url)
    fake_provider.refuse()
    button = {"routing_provider_test_connection": "1"}
    page = change(console, Provider.objects.get(), **button)
    assert "The provider cannot be reached." in page.content.decode()


def test_a_model_with_targets_is_added(console: Client):
    add(console)
    provider = Provider.objects.get()
    console.post(
        reverse("admin:routing_model_add"),
        {
            "name": "fast",
            "strategy": "priority",
            "fallbacks": "",
            "max_attempts": 3,
            "targets-TOTAL_FORMS": 1,
            "targets-INITIAL_FORMS": 0,
            "targets-0-provider": provider.pk,
            "targets-0-upstream_model": "gpt-4o",
            "targets-0-priority": 1,
            "targets-0-weight": 1,
        },
    )
    assert Model.objects.get(name="fast").targets.get().upstream_model == "gpt-4o"


def test_the_api_takes_a_credential_and_gives_a_hint(api: APIClient):
    answer = api.post(
        "/api/providers/", {"name": "m", "kind": "openai", "credential": SECRET}, format="json"
    )
    assert answer.status_code == 201
    assert "credential" not in answer.json()
    assert answer.json()["credential_hint"] == "set, ends in …9876"


def test_the_api_refuses_a_new_origin_without_a_new_credential(api: APIClient):
    made = api.post(
        "/api/providers/", {"name": "m", "kind": "openai", "credential": SECRET}, format="json"
    )
    answer = api.patch(
        f"/api/providers/{made.json()['id']}/", {"base_url": "https://b.example"}, format="json"
    )
    assert answer.status_code == 400
    assert "credential" in answer.json()


def test_the_api_makes_models_with_targets(api: APIClient):
    api.post("/api/providers/", {"name": "demo", "kind": "demo"}, format="json")
    target = {"provider": "demo", "upstream_model": "demo"}
    answer = api.post("/api/models/", {"name": "d", "targets": [target]}, format="json")
    assert answer.status_code == 201
    assert answer.json()["targets"][0]["provider"] == "demo"


@pytest.mark.parametrize(
    "fields",
    [
        {"fallbacks": ["nothing"]},
        {"fallbacks": ["d"]},
        {"name": "a b"},
        {"max_attempts": 0},
        {"targets": []},
    ],
)
def test_the_api_refuses_a_model_that_cannot_be(api: APIClient, fields: dict[str, Any]):
    api.post("/api/providers/", {"name": "demo", "kind": "demo"}, format="json")
    target = {"provider": "demo", "upstream_model": "demo"}
    model = {"name": "d", "targets": [target]} | fields
    answer = api.post("/api/models/", model, format="json")
    assert answer.status_code == 400
    assert set(answer.json()) == set(fields)


def test_only_administrators_use_the_api(db: Any):
    client = APIClient()
    client.force_authenticate(User.objects.create_user("somebody"))
    assert client.get("/api/providers/").status_code == 403
    assert APIClient().get("/api/models/").status_code in (401, 403)
