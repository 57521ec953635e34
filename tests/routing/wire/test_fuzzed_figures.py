"""Ten thousand odd numbers from each side, both formats: refused, or cut to what can be true."""

import contextlib
import json
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from billing.pricing import LARGEST_NANO_USD, Price, cost
from billing.usage import LARGEST_TOKEN_COUNT, Usage
from keys.errors import InvalidRequestError
from routing.call_bound import call_bound
from routing.errors import UpstreamError
from routing.provider_failures import failure
from routing.wire.bridges import bridge
from routing.wire.call import MOST_CHOICES, MOST_OUTPUT_TOKENS, read_request
from tests.routing.wire.streams import chat_call, message_call

CASES = 10_000
FORMATS = ("openai_chat", "anthropic_messages")
# As JSON text, so that what no Python number can say is said too.
ODD = (
    *("-1", "0", "1", "128", "129", "-0", "1e3", "1.5", "-1e-400", "1e400", "-1e400", "NaN"),
    *("Infinity", "true", "false", "null", '"5"', '"-5"', '""', "[]", "[5]", "{}", '{"a":-1}'),
    *(str(sign * 2**bits + more) for bits in (31, 32, 53, 63, 64, 80) for sign in (1, -1)
      for more in (-1, 0, 1)),
    *("9" * 400, "-" + "9" * 400, "1" + "0" * 5000, "10000000", "10000001", "0x10", "1_000", "٣"),
)  # fmt: skip
CHAT = {
    "openai_chat": (
        *("n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed"),
        *("top_logprobs", "presence_penalty", "stream_options", "tools", "web_search_options"),
        *("prediction", "logit_bias", "stream", "messages", "unknown"),
    ),
    "anthropic_messages": (
        *("max_tokens", "temperature", "top_k", "top_p", "thinking", "tools", "metadata"),
        *("stream", "messages", "system", "unknown"),
    ),
}
USAGE = {
    "openai_chat": (
        *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"),
        "completion_tokens_details",
    ),
    "anthropic_messages": (
        *("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation"),
        *("cache_creation_input_tokens", "output_tokens_details"),
    ),
}
DETAILS = (
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens", "thinking_tokens"),
    *("ephemeral_1h_input_tokens", "ephemeral_5m_input_tokens"),
)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
DEAREST = Price(id=1, input=10**12, output=10**12, cache_write_1h=9 * 10**12)


def odd(rng: random.Random) -> str:
    return rng.choice(ODD) if rng.random() < 0.8 else str(rng.randint(-(10**12), 10**12))


def body_with(rng: random.Random, format: str) -> bytes:
    fields = {"model": '"m"', "messages": '[{"role":"user","content":"hi"}]', "max_tokens": "5"}
    for name in rng.sample(CHAT[format], rng.randint(1, 3)):
        fields[name] = odd(rng)
    if rng.random() < 0.2:
        fields["thinking"] = f'{{"type":"enabled","budget_tokens":{odd(rng)}}}'
    if rng.random() < 0.2:
        image = f'{{"type":"image_url","image_url":{{"url":{odd(rng)},"detail":{odd(rng)}}}}}'
        fields["messages"] = f'[{{"role":"user","content":[{image}]}}]'
    return object_of(fields).encode()


def object_of(fields: dict[str, str]) -> str:
    return "{{{}}}".format(",".join(f'"{name}":{value}' for name, value in fields.items()))


def report(rng: random.Random, format: str) -> str:
    fields = {}
    for name in USAGE[format]:
        if rng.random() < 0.8:
            fields[name] = odd(rng) if rng.random() < 0.6 else str(rng.randrange(1000))
        if name.endswith(("details", "creation")) and rng.random() < 0.5:
            fields[name] = object_of({detail: odd(rng) for detail in DETAILS})
    return object_of(fields)


def check(usage: Usage) -> None:
    assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
    assert 0 <= usage.reasoning_tokens <= usage.output_tokens
    assert max(usage.input_tokens, usage.output_tokens) <= LARGEST_TOKEN_COUNT
    assert 0 <= cost(usage, DEAREST) <= LARGEST_NANO_USD


@pytest.mark.parametrize("format", FORMATS)
def test_G8_R44_F54_5_000_odd_bodies_of_each_format_are_refused_or_bounded(format):
    rng = random.Random(f"bodies {format}")  # noqa: S311 - reproducible cases, not secrets
    refused = 0
    for _ in range(CASES // 2):
        raw = body_with(rng, format)
        try:
            call = read_request(format, raw)
        except InvalidRequestError:
            refused += 1
            continue
        assert 1 <= call.choices <= MOST_CHOICES
        assert call.max_output_tokens is None or 1 <= call.max_output_tokens <= MOST_OUTPUT_TOKENS
        bound = call_bound(call, [], [DEAREST], None)
        assert 0 < bound.input_tokens < 10**6
        assert 0 < bound.output_tokens <= 2 * MOST_OUTPUT_TOKENS * MOST_CHOICES
        assert 0 < bound.cost_nano_usd(bound.output_tokens) <= LARGEST_NANO_USD
    assert 0 < refused < CASES // 2


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("provider", FORMATS)
def test_G8_2_500_odd_reports_of_each_crossing_never_pay_the_caller(client, provider):
    rng = random.Random(f"reports {client} {provider}")  # noqa: S311 - as above
    call = {"openai_chat": chat_call(), "anthropic_messages": message_call()}[client]
    read = 0
    for number in range(CASES // 4):
        usage = report(rng, provider)
        crossing: Any = bridge(client, provider)
        with contextlib.suppress(UpstreamError):
            if number % 2:
                answer = crossing.answer(whole(provider, usage), call)
                found = answer.usage
            else:
                pipe = crossing.stream(call)
                for event in events(provider, usage):
                    pipe.feed(event)
                pipe.end()
                found = pipe.usage
            if found is not None:
                read += 1
                check(found)
    assert read > CASES // 100


@pytest.mark.parametrize("figure", [-1, 2**63, 10**400, "7", True, 1.5, -0.5, [], {}])
@pytest.mark.parametrize("format", FORMATS)
def test_G8_an_impossible_figure_in_a_stream_is_flagged(format, figure):
    name = {"openai_chat": "completion_tokens", "anthropic_messages": "output_tokens"}[format]
    other = {"openai_chat": "prompt_tokens", "anthropic_messages": "input_tokens"}[format]
    pipe = bridge(format, format).stream(chat_call() if format == FORMATS[0] else message_call())
    with contextlib.suppress(UpstreamError):
        for event in events(format, json.dumps({name: figure, other: 3})):
            pipe.feed(event)
        assert pipe.usage is not None
        assert pipe.usage.suspect
        assert pipe.usage.input_tokens == 3


def test_G8_odd_reports_in_error_answers_never_pay_the_caller():
    rng = random.Random("errors")  # noqa: S311 - as above
    for _ in range(CASES // 10):
        usage = report(rng, rng.choice(FORMATS))
        body = (f'{{"error":{{"message":"no"}},"usage":{usage}}}').encode()
        error = failure("p", 500, {}, body, NOW, "p.example")
        if error.usage is not None:
            check(error.usage)


def whole(format: str, usage: str) -> bytes:
    if format == "openai_chat":
        choice = '{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}'
        return (f'{{"id":"x","model":"m","choices":[{choice}],"usage":{usage}}}').encode()
    content = '[{"type":"text","text":"hi"}]'
    return (
        f'{{"id":"x","type":"message","role":"assistant","model":"m","content":{content},'
        f'"stop_reason":"end_turn","usage":{usage}}}'
    ).encode()


def events(format: str, usage: str) -> list[bytes]:
    if format == "openai_chat":
        return [
            b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
            b'data: {"choices":[],"usage":%b}\n\n' % usage.encode(),
            b"data: [DONE]\n\n",
        ]
    said: list[tuple[str, str]] = [
        ("message_start", f'"message":{{"id":"x","model":"m","content":[],"usage":{usage}}}'),
        ("content_block_start", '"index":0,"content_block":{"type":"text","text":""}'),
        ("content_block_delta", '"index":0,"delta":{"type":"text_delta","text":"hi"}'),
        ("content_block_stop", '"index":0'),
        ("message_delta", f'"delta":{{"stop_reason":"end_turn"}},"usage":{usage}'),
        ("message_stop", '"x":0'),
    ]
    return [f'event: {name}\ndata: {{"type":"{name}",{rest}}}\n\n'.encode() for name, rest in said]
