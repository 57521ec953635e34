"""What a developer does with the stock SDKs: each call checked against what the provider saw."""

import base64
import json
from typing import Any

import anthropic
import openai

from tests.fake_provider.behaviour import TEXT

ASK: list[Any] = [{"role": "user", "content": "Which city is the capital of France?"}]
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n not really a picture").decode()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "rank": {"type": "integer"}},
    "required": ["city", "rank"],
    "additionalProperties": False,
}


def asks(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=ASK)
    assert answer.choices[0].message.content == TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 12


def streams(client: openai.OpenAI, model: str) -> None:
    chunks = list(
        client.chat.completions.create(
            model=model, messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == TEXT
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 12


def calls_a_tool(client: openai.OpenAI, model: str) -> None:
    """A tool call, its result, and the answer that makes use of it."""
    tools: list[Any] = [
        {
            "type": "function",
            "function": {"name": "capital_of", "description": "Look up.", "parameters": SCHEMA},
        }
    ]
    asked = client.chat.completions.create(model=model, messages=ASK, tools=tools)
    assert asked.choices[0].finish_reason == "tool_calls"
    (call,) = asked.choices[0].message.tool_calls or []
    assert isinstance(call, openai.types.chat.ChatCompletionMessageFunctionToolCall)
    assert call.function.name == "capital_of"
    assert json.loads(call.function.arguments) == {"city": "Paris", "rank": 7}
    result = {"role": "tool", "tool_call_id": call.id, "content": "it is Paris"}
    history = [*ASK, asked.choices[0].message.model_dump(exclude_none=True), result]
    answer = client.chat.completions.create(model=model, messages=history, tools=tools)
    assert answer.choices[0].message.content == "The tool said it is Paris"


def streams_a_tool_call(client: openai.OpenAI, model: str) -> None:
    tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]
    with client.chat.completions.stream(model=model, messages=ASK, tools=tools) as stream:
        message = stream.get_final_completion().choices[0].message
    (call,) = message.tool_calls or []
    assert json.loads(call.function.arguments) == {"city": "Paris", "rank": 7}


def shows_an_image(client: openai.OpenAI, model: str) -> None:
    content = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    messages: list[Any] = [{"role": "user", "content": content}]
    answer = client.chat.completions.create(model=model, messages=messages)
    assert answer.choices[0].message.content == "I see 1 image(s)."


def wants_json(client: openai.OpenAI, model: str) -> None:
    wanted: Any = {"name": "capital", "strict": True, "schema": SCHEMA}
    answer = client.chat.completions.create(
        model=model,
        messages=ASK,
        response_format={"type": "json_schema", "json_schema": wanted},
    )
    assert json.loads(answer.choices[0].message.content or "") == {"city": "Paris", "rank": 7}


EVERYTHING = (asks, streams, calls_a_tool, streams_a_tool_call, shows_an_image, wants_json)


def writes_messages(client: anthropic.Anthropic, model: str) -> None:
    whole = client.messages.create(model=model, max_tokens=100, messages=ASK)
    assert whole.content[0].type == "text"
    assert whole.content[0].text == TEXT
    # The provider's own fields, unknown to the gateway, come through.
    assert (whole.model_extra or {})["x_unknown_field"] == {"kept": [1, 2.5, "three"]}
    with client.messages.stream(model=model, max_tokens=100, messages=ASK) as stream:
        final = stream.get_final_message()
    assert final.content[0].type == "text"
    assert final.content[0].text == TEXT
    assert final.usage.output_tokens == 12
