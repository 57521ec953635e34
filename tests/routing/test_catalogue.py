"""The in-memory copy of models and providers."""

import asyncio
from typing import Any

import pytest

from routing.catalogue import Catalogue, CatalogueLoader, matches
from routing.model_edits import fallback_error
from routing.models import Model, Provider, Target
from routing.presets import USUAL_MODELS, add_usual_models
from routing.provider_edits import save_provider

pytestmark = pytest.mark.django_db


def provider(name: str = "main", **fields: Any) -> Provider:
    return save_provider(Provider(name=name, kind=fields.pop("kind", "demo"), **fields))


def model(name: str, to: Provider, upstream: str = "", **fields: Any) -> Model:
    made = Model.objects.create(name=name, **fields)
    Target.objects.create(model=made, provider=to, upstream_model=upstream or name)
    return made


def found(catalogue: Catalogue, name: str) -> tuple[str, str]:
    route = catalogue.find(name)
    assert route is not None
    return route.targets[0].provider.name, route.targets[0].upstream_model


def test_an_exact_name_wins_over_a_pattern():
    to = provider()
    model("gpt-*", to, "pattern")
    model("gpt-4o", to, "exact")
    catalogue = CatalogueLoader().load()
    assert found(catalogue, "gpt-4o") == ("main", "exact")
    assert found(catalogue, "gpt-5") == ("main", "pattern")


def test_the_most_specific_pattern_wins():
    to = provider()
    for name in ("*", "gpt-4*", "gpt-*"):
        model(name, to, f"to {name}")
    assert found(CatalogueLoader().load(), "gpt-4o") == ("main", "to gpt-4*")


def test_a_star_passes_the_callers_name_on_for_the_call_and_its_price():
    model("gpt-*", provider(), "*")
    route = CatalogueLoader().load().find("gpt-9")
    assert route is not None
    assert (route.model, route.targets[0].upstream_model) == ("gpt-9", "gpt-9")
    assert route.targets[0].price_model == "gpt-9"


def test_a_target_may_be_priced_as_another_model():
    to = provider()
    Target.objects.create(
        model=Model.objects.create(name="m"),
        provider=to,
        upstream_model="my-deployment",
        price_as="gpt-4o",
    )
    route = CatalogueLoader().load().find("m")
    assert route is not None
    assert route.targets[0].price_model == "gpt-4o"


@pytest.mark.parametrize(("pattern", "name"), [("a.b*", "axb"), ("a*", "ba"), ("[ab]*", "a")])
def test_only_a_star_is_special_in_a_pattern(pattern: str, name: str):
    assert not matches(pattern, name)


def test_an_unknown_model_goes_to_the_default_provider(settings: Any):
    settings.DEFAULT_PROVIDER = "main"
    provider()
    assert found(CatalogueLoader().load(), "anything") == ("main", "anything")


def test_without_a_default_provider_an_unknown_model_is_nowhere(settings: Any):
    settings.DEFAULT_PROVIDER = "missing"
    provider()
    assert CatalogueLoader().load().find("anything") is None


def test_a_disabled_provider_is_no_target():
    off = provider("off")
    model("m", off)
    Target.objects.create(
        model=Model.objects.get(), provider=provider("on"), upstream_model="m", priority=2
    )
    Provider.objects.filter(name="off").update(enabled=False)
    assert found(CatalogueLoader().load(), "m") == ("on", "m")


def test_a_provider_that_cannot_be_does_not_take_the_others_along():
    model("m", provider("good"))
    model("n", provider("bad", kind="openai"))
    Provider.objects.filter(name="bad").update(base_url="gopher://x")
    catalogue = CatalogueLoader().load()
    assert found(catalogue, "m") == ("good", "m")
    route = catalogue.find("n")
    assert route is not None
    assert route.targets == ()


def test_patterns_are_not_listed_as_models():
    to = provider()
    model("m", to)
    model("gpt-*", to)
    listed = CatalogueLoader().load().public_models()
    assert [one.name for one in listed] == ["m"]


def test_r67_an_unchanged_provider_keeps_its_live_client():
    model("a", provider("one"))
    model("b", provider("two"))
    loader = CatalogueLoader()
    before = loader.load()
    Provider.objects.filter(name="two").update(timeout_seconds=5)
    after = loader.load()
    assert live(before, "a") is live(after, "a")
    assert live(before, "b") is not live(after, "b")
    asyncio.run(loader.close())


def live(catalogue: Catalogue, name: str) -> Any:
    route = catalogue.find(name)
    assert route is not None
    return route.targets[0].provider


def test_usual_models_are_added_once():
    to = provider(kind="openai")
    assert add_usual_models(to) == [usual.name for usual in USUAL_MODELS["openai"]]
    assert add_usual_models(to) == []


def test_a_second_account_comes_after_the_first():
    add_usual_models(provider("one", kind="openai"))
    add_usual_models(provider("two", kind="openai"))
    route = CatalogueLoader().load().find("gpt-4o")
    assert route is not None
    assert [(t.provider.name, t.priority) for t in route.targets] == [("one", 1), ("two", 2)]


@pytest.mark.parametrize(
    ("fallbacks", "says"),
    [
        (["b", "c"], ""),
        (["a"], "own fallback"),
        (["b", "b"], "twice"),
        (["x"], "no model x"),
        (["gpt-*"], "pattern"),
        (["d"], "a → d → e → a"),
        ("b", "list"),
        ([1], "list"),
    ],
)
def test_fallbacks_exist_and_do_not_go_round(fallbacks: Any, says: str):
    others = {"b": ["c"], "c": [], "d": ["e"], "e": ["a"], "gpt-*": []}
    text = fallback_error("a", fallbacks, others)
    assert says in text
    assert bool(text) == bool(says)
