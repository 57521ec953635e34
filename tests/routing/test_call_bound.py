"""What is reserved for a call covers whatever a provider can correctly report of it."""

import json
import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from billing.pricing import Price, cost
from billing.usage import Usage
from routing.call_bound import DEFAULT_OUTPUT_TOKENS, call_bound
from routing.catalogue import Target
from routing.wire import input_bound
from routing.wire.call import CallRequest, read_request

CASES = 10_000
CACHE_PRICES = ("cached_input", "cache_write", "cache_write_1h")
ABOVE_PRICES = tuple(f"above_{name}" for name in ("input", "output", *CACHE_PRICES))
TEXTS = ("hi", "語" * 40, "🌍" * 30, 'a\n\t"\\' * 20, "z" * 3000, "")
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
ANTHROPIC_TOOL: dict[str, Any] = {"name": "f", "input_schema": {"type": "object"}}
UPSTREAM_MODELS = ("gpt-4o", "gpt-4o-mini-2024-07-18", "o4-mini", "claude-sonnet", "my-deployment")


@dataclass
class Case:
    """A request, and the most tokens of its media and tools that the published rules allow."""

    body: dict[str, Any]
    format: str
    hidden: int = 0
    images: int = 0


def target(upstream_model: str, price_model: str = "") -> Target:
    provider: Any = None  # the bound asks nothing of it
    return Target(provider, upstream_model, 1, 1, price_model or upstream_model)


def call_of(case: Case) -> CallRequest:
    return read_request(case.format, json.dumps(case.body, ensure_ascii=False).encode())


def chat(rng: random.Random) -> Case:
    case = Case({"model": "public", "messages": []}, "openai_chat")
    for _ in range(rng.randint(1, 3)):
        case.body["messages"].append({"role": "user", "content": _openai_content(rng, case)})
    for name in ("max_tokens", "max_completion_tokens"):
        if rng.random() < 0.5:
            case.body[name] = rng.choice((1, 7, 4000, 10_000_000))
    if rng.random() < 0.4:
        case.body["n"] = rng.choice((1, 2, 128))
    if rng.random() < 0.3:
        case.body["tools"] = [TOOL] * rng.randint(1, 3)
        case.hidden += 935
    if rng.random() < 0.2:
        case.body["web_search_options"] = {}
        case.hidden += 100_000
    case.body |= rng.choice(
        (
            {},
            {"reasoning_effort": "high"},
            {"service_tier": "priority"},
            {"prediction": {"type": "content", "content": "x" * 500}},
        )
    )
    return case


def _openai_content(rng: random.Random, case: Case) -> Any:
    if rng.random() < 0.4:
        return rng.choice(TEXTS)
    parts: list[dict[str, Any]] = [{"type": "text", "text": rng.choice(TEXTS)}]
    match rng.choice(("image", "inline", "audio", "file", "nothing")):
        case "image":
            detail = {"detail": rng.choice(("low", "high", "auto"))} if rng.random() < 0.5 else {}
            parts.append({"type": "image_url", "image_url": {"url": "https://p.example"} | detail})
            case.images += detail.get("detail") != "low"
            case.hidden += 4_784
        case "inline":
            url = "data:image/png;base64," + "A" * rng.choice((4, 40_000))
            parts.append({"type": "image_url", "image_url": {"url": url}})
            case.images += 1
            case.hidden += 4_784
        case "audio":
            data = "A" * rng.choice((400, 40_000))
            parts.append({"type": "input_audio", "input_audio": {"data": data, "format": "mp3"}})
            case.hidden += len(data) // 32
        case "file":
            data = "A" * rng.choice((100, 20_000))
            parts.append({"type": "file", "file": {"file_data": data}})
            case.hidden += max(8_000, len(data))
    return parts


def messages(rng: random.Random) -> Case:
    limit = rng.choice((1, 4096, 10_000_000))
    case = Case({"model": "public", "max_tokens": limit, "messages": []}, "anthropic_messages")
    source = {"type": "base64", "media_type": "image/png", "data": "A" * rng.choice((4, 30_000))}
    image: dict[str, Any] = {"type": "image", "source": source}
    content: list[dict[str, Any]] = [
        {"type": "text", "text": rng.choice(TEXTS), "cache_control": {"type": "ephemeral"}}
    ]
    if rng.random() < 0.4:
        content.append(rng.choice((image, {"type": "tool_result", "content": [image]})))
        case.images += 1
        case.hidden += 4_784
    case.body["messages"].append({"role": "user", "content": content})
    if rng.random() < 0.3:
        case.body["tools"] = [ANTHROPIC_TOOL] * rng.randint(1, 3)
        case.hidden += 935
    if rng.random() < 0.3:
        case.body["thinking"] = {"type": "enabled", "budget_tokens": rng.choice((1024, 64_000))}
    return case


def price(rng: random.Random) -> Price:
    dear: dict[str, Any] = {
        name: rng.choice((None, 0, rng.randrange(10**11)))
        for name in (*CACHE_PRICES, *ABOVE_PRICES)
    }
    threshold = rng.choice((None, rng.randrange(5000), 200_000))
    figures = {"input": rng.randrange(10**10), "output": rng.randrange(10**11)}
    return Price(id=1, above_input_tokens=threshold, **figures, **dear)


def correct_usage(rng: random.Random, case: Case, upstream_model: str, max_tokens: int) -> Usage:
    """What a provider may say: a token a byte at the worst, and what it publishes of media."""
    without_media = json.dumps(case.body, ensure_ascii=False).replace("A" * 100, "").encode()
    most = len(without_media) + case.hidden
    if "gpt-4o-mini" in upstream_model:
        most += case.images * (2_833 + 8 * 5_667 - 4_784)
    total = rng.choice((rng.randint(0, most), most))
    cached = rng.randint(0, total)
    written = rng.randint(0, total - cached)
    choices = case.body.get("n", 1)
    output = rng.choice((max_tokens * choices, rng.randint(0, max_tokens * choices)))
    return Usage(total, cached, written, rng.randint(0, written), output, output)


def test_G1b_no_correct_report_costs_more_than_is_reserved_over_10_000_requests():
    rng = random.Random(31)  # noqa: S311 - reproducible cases, not secrets
    for number in range(CASES):
        case = rng.choice((chat, messages))(rng)
        call = call_of(case)
        names = rng.choices(UPSTREAM_MODELS, k=rng.randint(1, 3))
        prices = [price(rng) for _ in names]
        route_max = rng.choice((None, 100))
        bound = call_bound(call, map(target, names), prices, route_max)
        granted = bound.output_tokens
        sent = call.max_output_tokens or granted // call.choices
        serving = rng.randrange(len(names))
        usage = correct_usage(rng, case, names[serving], sent)
        where = (number, case.body["model"], names, usage, bound)
        assert usage.total_tokens <= bound.input_tokens + granted, where
        assert cost(usage, prices[serving]) <= bound.cost_nano_usd(granted), where


def test_R53_the_larger_of_two_limits_is_reserved_for_each_choice():
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 3}
    case = Case(body | {"max_tokens": 10, "max_completion_tokens": 900}, "openai_chat")
    assert call_bound(call_of(case), [target("m")], [None], None).output_tokens == 2700


def test_a_call_without_a_limit_is_bounded_by_its_model_and_can_be_granted_less():
    case = Case({"model": "m", "messages": [{"role": "user", "content": "x"}]}, "openai_chat")
    assert call_bound(call_of(case), [target("m")], [], 70).output_tokens == 70
    bound = call_bound(call_of(case), [target("m")], [], None)
    assert (bound.output_tokens, bound.adjustable) == (DEFAULT_OUTPUT_TOKENS, True)


@pytest.mark.parametrize("named", [target("gpt-4o-mini"), target("my-deployment", "gpt-4o-mini")])
def test_G1b_an_alias_of_the_small_model_is_bounded_by_what_images_take_there(named):
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png"}}
    ]
    case = Case(
        {"model": "fast", "messages": [{"role": "user", "content": content}]}, "openai_chat"
    )
    elsewhere = call_bound(call_of(case), [target("gpt-4o")], [], None).input_tokens
    there = call_bound(call_of(case), [target("gpt-4o"), named], [], None).input_tokens
    assert elsewhere < input_bound.MINI_IMAGE_TOKENS < there


def test_a_thinking_budget_beyond_max_tokens_is_reserved_too():
    body = {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}]}
    thinking = {"thinking": {"type": "enabled", "budget_tokens": 30_000}}
    call = call_of(Case(body | thinking, "anthropic_messages"))
    assert call.max_output_tokens == 1000
    assert call_bound(call, [target("m")], [], None).output_tokens == 31_000


def test_the_dearest_of_all_that_could_serve_is_reserved():
    case = Case({"model": "m", "messages": [{"role": "user", "content": "x"}]}, "openai_chat")
    cheap = Price(id=1, input=1, output=10**9)
    dear_input = replace(cheap, input=10**9, cache_write_1h=10**12)
    bound = call_bound(call_of(case), [target("a"), target("b")], [cheap, None, dear_input], 10)
    only = call_bound(call_of(case), [target("b")], [dear_input], 10)
    assert bound.cost_nano_usd(10) == only.cost_nano_usd(10) >= bound.input_tokens * 10**6
