"""The built-in provider, read with the official SDKs' own types."""

import asyncio
from typing import Any

import anthropic.types as anthropic
import openai.types.chat as openai
import orjson
import pytest

from routing.errors import UpstreamOverloadedError, UpstreamRefusedRequestError
from routing.providers import Upstream, build, demo
from tests.routing.configs import config

WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_TOOL = {"type": "function", "function": {"name": "weather", "parameters": WEATHER}}
ANTHROPIC_TOOL = {"name": "weather", "input_schema": WEATHER}


@pytest.fixture
def upstream() -> Upstream:
    return build(config(kind="demo"))


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def chat(upstream: Upstream, text: str = "hi", **fields: Any) -> openai.ChatCompletion:
    body = orjson.dumps({"model": "demo", "messages": said(text)} | fields)
    answer = asyncio.run(upstream.ask("openai_chat", body, {}))
    return openai.ChatCompletion.model_validate_json(answer)


def message(upstream: Upstream, text: str = "hi", **fields: Any) -> anthropic.Message:
    body = orjson.dumps({"model": "demo", "max_tokens": 100, "messages": said(text)} | fields)
    answer = asyncio.run(upstream.ask("anthropic_messages", body, {}))
    return anthropic.Message.model_validate_json(answer)


def frames(upstream: Upstream, format: str, **fields: Any) -> list[bytes]:
    body = orjson.dumps({"model": "demo", "messages": said("hi there"), "max_tokens": 9} | fields)

    async def read() -> list[bytes]:
        async with upstream.stream(format, body, {}) as chunks:
            return [chunk async for chunk in chunks]

    return asyncio.run(read())


def test_it_echoes_in_both_formats(upstream: Upstream):
    assert chat(upstream, "hello").choices[0].message.content == "You said: hello"
    assert message(upstream, "hello").content[0].to_dict()["text"] == "You said: hello"


def test_it_counts_what_it_was_given_and_what_it_said(upstream: Upstream):
    usage = chat(upstream, "hello you").usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (3, 6)


def test_the_repeated_part_of_a_long_prompt_is_cached_in_either_habit(upstream: Upstream):
    long = [{"role": "system", "content": "word " * 100}, *said("hi")]
    usage = chat(upstream, messages=long).usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (101, 100)
    other = message(upstream, system="word " * 100).usage
    assert (other.input_tokens, other.cache_read_input_tokens) == (1, 100)


def test_it_stops_at_max_tokens(upstream: Upstream):
    answer = chat(upstream, "a long story", max_tokens=2)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 2
    assert message(upstream, "a long story", max_tokens=2).stop_reason == "max_tokens"


@pytest.mark.parametrize("text", ["use the tool", "please call it", "the Weather?"])
def test_it_calls_a_tool_when_the_prompt_asks(upstream: Upstream, text: str):
    choice = chat(upstream, text, tools=[OPENAI_TOOL]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    call = choice.message.tool_calls[0].to_dict()["function"]
    assert call == {"name": "weather", "arguments": '{"city":"demo"}'}
    block = message(upstream, text, tools=[ANTHROPIC_TOOL]).content[0].to_dict()
    assert (block["name"], block["input"]) == ("weather", {"city": "demo"})


def test_it_calls_no_tool_unasked_or_forbidden(upstream: Upstream):
    assert chat(upstream, "hello", tools=[OPENAI_TOOL]).choices[0].finish_reason == "stop"
    forbidden = chat(upstream, "use the tool", tools=[OPENAI_TOOL], tool_choice="none")
    assert forbidden.choices[0].finish_reason == "stop"


def test_it_calls_the_tool_that_is_demanded(upstream: Upstream):
    other = {"type": "function", "function": {"name": "other"}}
    choice = {"type": "function", "function": {"name": "weather"}}
    answer = chat(upstream, tools=[other, OPENAI_TOOL], tool_choice=choice)
    assert answer.choices[0].finish_reason == "tool_calls"


def test_it_tells_what_a_tool_answered(upstream: Upstream):
    result = [*said("use the tool"), {"role": "tool", "tool_call_id": "x", "content": "22 °C"}]
    content = chat(upstream, messages=result, tools=[OPENAI_TOOL]).choices[0].message.content
    assert content == "The tool answered: 22 °C"
    block = {"type": "tool_result", "tool_use_id": "x", "content": "22 °C"}
    answer = message(upstream, messages=[{"role": "user", "content": [block]}])
    assert answer.content[0].to_dict()["text"] == "The tool answered: 22 °C"


def test_it_answers_with_an_instance_of_a_schema(upstream: Upstream):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "size": {"type": "integer", "minimum": 3},
            "kind": {"enum": ["a", "b"]},
            "tags": {"type": "array", "items": {"$ref": "#/$defs/tag"}},
            "maybe": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        },
        "$defs": {"tag": {"type": "boolean"}},
    }
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    content = chat(upstream, response_format=form).choices[0].message.content
    assert content is not None
    expected = {"name": "demo", "size": 3, "kind": "a", "tags": [True], "maybe": None}
    assert orjson.loads(content) == expected


def test_a_schema_that_refers_to_itself_ends(upstream: Upstream):
    schema = {"type": "object", "properties": {"next": {"$ref": "#"}}}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    assert chat(upstream, response_format=form).choices[0].message.content


def test_several_choices_are_several_answers(upstream: Upstream):
    answer = chat(upstream, n=3)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def test_an_openai_stream_says_the_same_in_chunks(upstream: Upstream):
    options = {"include_usage": True}
    *data, done = frames(upstream, "openai_chat", stream=True, stream_options=options)
    chunks = [openai.ChatCompletionChunk.model_validate_json(frame[6:]) for frame in data]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "You said: hi there"
    assert done == b"data: [DONE]\n\n"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 6


def test_without_asking_a_stream_has_no_usage(upstream: Upstream):
    assert not any(b"usage" in frame for frame in frames(upstream, "openai_chat", stream=True))


def test_an_anthropic_stream_has_its_events_in_order(upstream: Upstream):
    events = frames(upstream, "anthropic_messages", stream=True)
    names = [event.split(b"\n")[0].removeprefix(b"event: ").decode() for event in events]
    assert names[:2] == ["message_start", "content_block_start"]
    assert set(names[2:-3]) == {"content_block_delta"}
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_demo_down_always_fails(upstream: Upstream):
    for _ in range(2):
        with pytest.raises(UpstreamOverloadedError):
            chat(upstream, model="demo-down")


def test_demo_flaky_fails_every_second_call(upstream: Upstream):
    outcomes = []
    for _ in range(4):
        try:
            chat(upstream, model="demo-flaky")
            outcomes.append("served")
        except UpstreamOverloadedError:
            outcomes.append("failed")
    assert outcomes == ["served", "failed", "served", "failed"]


def test_demo_slow_takes_its_time(upstream: Upstream, monkeypatch: pytest.MonkeyPatch):
    # The three seconds are a constant of the demo; here it is short, and still waited for.
    monkeypatch.setattr(demo, "SLOW_SECONDS", 0.2)

    async def hurried() -> bytes:
        body = orjson.dumps({"model": "demo-slow", "messages": said("hi")})
        return await asyncio.wait_for(upstream.ask("openai_chat", body, {}), 0.1)

    with pytest.raises(TimeoutError):
        asyncio.run(hurried())
    assert chat(upstream, model="demo-slow").choices


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"model":"demo"}', b'{"model":"demo","messages":[7]}']
)
@pytest.mark.parametrize("format", ["openai_chat", "anthropic_messages"])
def test_what_it_cannot_read_is_the_callers_mistake(upstream: Upstream, format: str, body: bytes):
    with pytest.raises(UpstreamRefusedRequestError):
        asyncio.run(upstream.ask(format, body, {}))
