"""The usual models of each kind of provider, for a start that needs no typing.

Output maxima: developers.openai.com/api/docs/models and platform.claude.com/docs/en/models,
checked 2026-11-24; context windows and prices come with the price book.
"""

from dataclasses import dataclass

from django.db.models import Max

from routing.models import Kind, Model, Provider, Target


@dataclass(frozen=True, slots=True)
class UsualModel:
    name: str
    max_output_tokens: int


USUAL_MODELS: dict[str, tuple[UsualModel, ...]] = {
    Kind.OPENAI: (
        UsualModel("gpt-6.1-sol", 128_000),
        UsualModel("gpt-6-sol", 128_000),
        UsualModel("gpt-5", 128_000),
        UsualModel("gpt-5-mini", 128_000),
        UsualModel("gpt-5-nano", 128_000),
        UsualModel("gpt-4.1", 32_768),
        UsualModel("gpt-4.1-mini", 32_768),
        UsualModel("gpt-4o", 16_384),
        UsualModel("gpt-4o-mini", 16_384),
    ),
    Kind.ANTHROPIC: (
        UsualModel("claude-opus-5-5", 128_000),
        UsualModel("claude-sonnet-5-5", 128_000),
        UsualModel("claude-haiku-4-5", 64_000),
    ),
    Kind.DEMO: tuple(
        UsualModel(name, 4096) for name in ("demo", "demo-slow", "demo-flaky", "demo-down")
    ),
}


def add_usual_models(provider: Provider) -> list[str]:
    """Make a provider reachable under its usual names.

    A name that exists already gets the provider as one more target, after those it has.

    Returns:
        The names that lead to it now and did not before.
    """
    added = []
    for usual in USUAL_MODELS[provider.kind]:
        model, _ = Model.objects.get_or_create(
            name=usual.name, defaults={"max_output_tokens": usual.max_output_tokens}
        )
        if model.targets.filter(provider=provider, upstream_model=usual.name).exists():
            continue
        last = model.targets.aggregate(last=Max("priority"))["last"] or 0
        Target.objects.create(
            model=model, provider=provider, upstream_model=usual.name, priority=last + 1
        )
        added.append(usual.name)
    return added
