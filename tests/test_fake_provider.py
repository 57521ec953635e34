"""The fake provider speaks both formats well enough for the official SDKs, and fails on demand."""

import anthropic
import openai
import pytest

from tests.fake_provider import Behaviour

ASK = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}


@pytest.fixture
def openai_client(fake_provider):
    with openai.OpenAI(base_url=fake_provider.openai_url, api_key="k", max_retries=0) as client:
        yield client


@pytest.fixture
def anthropic_client(fake_provider):
    url = fake_provider.anthropic_url
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


def test_openai_whole_and_streamed_say_the_same(openai_client, fake_provider):
    whole = openai_client.chat.completions.create(model="m", messages=ASK)
    stream = openai_client.chat.completions.create(
        model="m", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = list(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said == whole.choices[0].message.content
    assert last.usage.completion_tokens == fake_provider.seen[-1].output_tokens == 12


def test_openai_calls_a_tool(openai_client):
    answer = openai_client.chat.completions.create(model="two-tools", messages=ASK, tools=[TOOL])
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["weather"] * 2


def test_anthropic_whole_and_streamed_say_the_same(anthropic_client, fake_provider):
    call = {"model": "cache-written", "max_tokens": 100, "messages": ASK}
    whole = anthropic_client.messages.create(**call)
    with anthropic_client.messages.stream(**call) as stream:
        final = stream.get_final_message()
    assert final.content[0].text == whole.content[0].text
    assert final.usage.output_tokens == whole.usage.output_tokens == 12
    assert (final.usage.input_tokens, final.usage.cache_read_input_tokens) == (600, 100)


def test_anthropic_calls_a_tool_in_a_stream(anthropic_client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    with anthropic_client.messages.stream(
        model="m",
        max_tokens=100,
        messages=ASK,
        tools=[{"name": "weather", "input_schema": schema}],
    ) as stream:
        block = stream.get_final_message().content[0]
    assert (block.name, block.input) == ("weather", {"city": "Paris"})


def test_a_script_is_followed_and_its_last_step_stays(openai_client, fake_provider):
    fake_provider.script("m", Behaviour(status=503), Behaviour())
    with pytest.raises(openai.InternalServerError):
        openai_client.chat.completions.create(model="m", messages=ASK)
    openai_client.chat.completions.create(model="m", messages=ASK)
    openai_client.chat.completions.create(model="m", messages=ASK)
    assert [seen.behaviour.status for seen in fake_provider.seen] == [503, 200, 200]


@pytest.mark.parametrize("model", ["reset", "close"])
def test_no_answer_comes(openai_client, model):
    with pytest.raises(openai.APIConnectionError):
        openai_client.chat.completions.create(model=model, messages=ASK)


@pytest.mark.parametrize("model", ["odd-bytes", "crlf", "comments", "usage-in-every-chunk"])
def test_dressed_up_streams_still_parse(openai_client, model):
    whole = openai_client.chat.completions.create(model=model, messages=ASK)
    chunks = openai_client.chat.completions.create(model=model, messages=ASK, stream=True)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert said == whole.choices[0].message.content


def test_it_notices_when_the_reader_leaves(openai_client, fake_provider):
    stream = openai_client.chat.completions.create(model="endless", messages=ASK, stream=True)
    next(stream)
    stream.close()
    fake_provider.wait_for(lambda fake: fake.seen[0].left_at is not None, "the reader left")
    assert not fake_provider.seen[0].finished


def test_refusing_and_accepting_again(openai_client, fake_provider):
    fake_provider.refuse()
    with pytest.raises(openai.APIConnectionError):
        openai_client.chat.completions.create(model="m", messages=ASK)
    fake_provider.accept()
    assert openai_client.chat.completions.create(model="m", messages=ASK).choices
