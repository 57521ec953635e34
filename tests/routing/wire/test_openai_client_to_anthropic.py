import json

import pytest
from hypothesis import given

from billing.usage import Usage
from keys.errors import InvalidRequestError
from routing.errors import UpstreamProtocolError
from routing.wire.bridges import bridge
from tests.routing.wire import official_clients
from tests.routing.wire.streams import chat_call, cuts, event, run

PAIR = ("openai_chat", "anthropic_messages")
BRIDGE = bridge(*PAIR)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city",
        "parameters": CITY,
        "strict": True,
    },
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
PIXEL = "iVBORw0KGgo="


def request(max_output_tokens=None, **fields):
    call = chat_call(**{"stream": False} | fields)
    return json.loads(BRIDGE.request(call, model="claude-x", max_output_tokens=max_output_tokens))


def user(*parts):
    return [{"role": "user", "content": list(parts)}]


def called(call_id, city):
    function = {"name": "get_weather", "arguments": json.dumps({"city": city})}
    return {"id": call_id, "type": "function", "function": function}


def test_a_plain_chat_becomes_a_message():
    assert request() == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    }


def test_everything_that_can_be_said_fits_the_types_of_anthropics_client():
    body = request(
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "developer", "content": [{"type": "text", "text": "be kind"}]},
            *user(
                {"type": "text", "text": "see"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://p.example/c.png", "detail": "low"},
                },
                {
                    "type": "file",
                    "file": {
                        "filename": "a.pdf",
                        "file_data": f"data:application/pdf;base64,{PIXEL}",
                    },
                },
            ),
            {"role": "assistant", "content": None, "tool_calls": [called("a", "Oslo")]},
            {"role": "tool", "tool_call_id": "a", "content": "snow"},
        ],
        tools=[WEATHER],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        reasoning_effort="high",
        stop=["END"],
        user="u-1",
        stream=True,
        max_completion_tokens=50,
    )
    assert official_clients.misfit_of_message(body) == ""
    assert [block["text"] for block in body["system"]] == ["be brief", "be kind"]
    assert [block["type"] for block in body["messages"][0]["content"]] == [
        "text",
        "image",
        "image",
        "document",
    ]
    assert body["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert body["output_config"] == {
        "effort": "high",
        "format": {"type": "json_schema", "schema": SCHEMA},
    }
    assert body["tools"][0]["input_schema"] == CITY
    assert (body["stop_sequences"], body["metadata"]) == (["END"], {"user_id": "u-1"})
    assert (body["stream"], body["max_tokens"]) == (True, 50)


def test_ANT16_tool_results_stand_in_one_user_turn_directly_after_the_calls():
    body = request(
        messages=[
            {"role": "user", "content": "weather?"},
            {"role": "assistant", "tool_calls": [called("a:0", "Oslo"), called("b", "Rome")]},
            {"role": "tool", "tool_call_id": "a:0", "content": "snow"},
            {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "sun"}]},
            {"role": "user", "content": "and?"},
        ]
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    calls, results = body["messages"][1]["content"], body["messages"][2]["content"]
    assert [call["input"] for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    assert [block["type"] for block in results] == ["tool_result", "tool_result", "text"]
    assert [block["tool_use_id"] for block in results[:2]] == [call["id"] for call in calls]
    assert calls[0]["id"] == "a_0"


def test_ANT16_messages_of_one_role_are_merged():
    said = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
    assert len(request(messages=said)["messages"]) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, 4096),
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 8}, 8),
        ({"max_output_tokens": 9}, 9),
        ({"max_tokens": 7, "max_output_tokens": 5}, 5),
    ],
)
def test_max_tokens_is_always_said(fields, expected):
    assert request(**fields)["max_tokens"] == expected


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", None),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ],
)
def test_OAI22_a_tool_choice_is_mapped(choice, expected):
    assert request(tools=[WEATHER], tool_choice=choice).get("tool_choice") == expected


def test_allowed_tools_leave_the_others_out():
    other = {"type": "function", "function": {"name": "other"}}
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "other"}}]}
    body = request(
        tools=[WEATHER, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
    )
    assert [tool["name"] for tool in body["tools"]] == ["other"]


def test_a_temperature_beyond_the_scale_is_its_end():
    assert request(temperature=1.7)["temperature"] == 1
    assert request(temperature=0.3)["temperature"] == 0.3


def test_effort_none_switches_thinking_off():
    assert request(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    assert request(reasoning_effort="minimal")["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    "fields",
    [
        {"n": 1},
        {"n": None},
        {"logprobs": False},
        {"frequency_penalty": 0},
        {"presence_penalty": 0.0},
        {"logit_bias": {}},
        {"modalities": ["text"]},
        {"store": False},
        {"service_tier": "auto"},
        {"seed": None},
        {"metadata": {"a": "b"}},
        {"prompt_cache_key": "k"},
        {"provider": "anthropic", "user_id": "u"},
        {
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": "y", "reasoning_content": "z"},
            ]
        },
    ],
)
def test_what_says_nothing_is_left_out(fields):
    body = request(**fields)
    assert body.keys() == {"model", "max_tokens", "messages"}
    assert "reasoning_content" not in json.dumps(body)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"frequency_penalty": False}, "frequency_penalty"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"seed": 1}, "seed"),
        ({"audio": {"voice": "x"}}, "audio"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"api_base": "http://x"}, "api_base"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"response_format": {"type": "grammar"}}, "response_format"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"stop": 5}, "stop"),
        ({"temperature": "warm"}, "temperature"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"messages": [{"role": "function", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "name": "bob"}]}, "messages[0].name"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        (
            {"messages": user({"type": "input_audio", "input_audio": {}})},
            "messages[0].content[0].type",
        ),
        ({"messages": user({"type": "text"})}, "messages[0].content[0].text"),
        (
            {"messages": user({"type": "image_url", "image_url": {"url": "ftp://x"}})},
            "messages[0].content[0].image_url.url",
        ),
        (
            {
                "messages": user(
                    {"type": "image_url", "image_url": {"url": "data:image/tiff;base64,AA"}}
                )
            },
            "messages[0].content[0].image_url.url",
        ),
        (
            {"messages": user({"type": "file", "file": {"file_id": "f"}})},
            "messages[0].content[0].file.file_id",
        ),
        (
            {
                "messages": [
                    {
                        "role": "assistant",
                        "tool_calls": [
                            {
                                "id": "c",
                                "type": "function",
                                "function": {"name": "f", "arguments": "[1"},
                            }
                        ],
                    }
                ]
            },
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"messages": [{"role": "assistant", "audio": {"id": "x"}}]}, "messages[0].audio"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refusal:
        request(**fields)
    assert refusal.value.param == param


def test_arguments_nested_like_a_bomb_are_refused():
    call = called("a", "x")
    call["function"]["arguments"] = '{"a":' * 900 + "1" + "}" * 900
    with pytest.raises(InvalidRequestError):
        request(messages=[{"role": "assistant", "tool_calls": [call]}])


USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 6,
    "output_tokens": 30,
    "output_tokens_details": {"thinking_tokens": 9},
}


def message(content, stop_reason="end_turn", **fields):
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x-2026",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
    }
    return json.dumps(body | fields).encode()


def answer(raw):
    return BRIDGE.answer(raw, chat_call(), created=1700000000)


def test_an_answer_is_a_chat_completion():
    bridged = answer(message([{"type": "text", "text": "Grüße"}]))
    completion = official_clients.read_completion(bridged.body)
    assert (completion.id, completion.created) == ("chatcmpl-msg_1", 1700000000)
    assert completion.model == "claude-x-2026"
    assert completion.choices[0].message.content == "Grüße"
    assert bridged.usage == Usage(21, 5, 6, 0, 30, 9)
    assert completion.usage is not None
    assert completion.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": 21,
        "completion_tokens": 30,
        "total_tokens": 51,
        "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 6},
        "completion_tokens_details": {"reasoning_tokens": 9},
    }


def test_thinking_and_tool_calls_are_said_in_openais_words():
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Oslo"}},
        {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
    ]
    completion = official_clients.read_completion(answer(message(content, "tool_use")).body)
    said = completion.choices[0].message
    assert completion.choices[0].finish_reason == "tool_calls"
    assert said.content is None
    assert said.model_extra == {"reasoning_content": "hm"}
    assert said.tool_calls is not None
    functions = [call.function for call in said.tool_calls if call.type == "function"]
    assert [function.arguments for function in functions] == ['{"city":"Oslo"}', "{}"]


@pytest.mark.parametrize(
    ("stop_reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("something_new", "stop"),
    ],
)
def test_ANT08_a_stop_reason_is_mapped(stop_reason, finish):
    completion = official_clients.read_completion(answer(message([], stop_reason)).body)
    assert completion.choices[0].finish_reason == finish


def test_OAI23_a_refusal_says_why():
    details = {"type": "refusal", "category": None, "explanation": "not that"}
    bridged = answer(message([], "refusal", stop_details=details))
    assert official_clients.read_completion(bridged.body).choices[0].message.refusal == "not that"


def test_an_answer_without_usage_is_estimated():
    bridged = answer(message([{"type": "text", "text": "word " * 10}], usage=None))
    assert (bridged.usage, bridged.output_tokens_seen) == (None, 10)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "text"}],
        [{"type": "tool_use", "id": "x", "name": "f", "input": "[]"}],
        [
            {
                "type": "tool_use",
                "id": "x",
                "name": "f",
                "input": json.loads('{"a":' * 400 + "1" + "}" * 400),
            }
        ],
    ],
)
def test_a_malformed_block_is_a_protocol_error_and_keeps_the_usage(content):
    with pytest.raises(UpstreamProtocolError) as failure:
        answer(message(content))
    assert failure.value.usage == Usage(21, 5, 6, 0, 30, 9)


def block_start(index, block):
    return event({"type": "content_block_start", "index": index, "content_block": block})


def delta(index, **piece):
    return event({"type": "content_block_delta", "index": index, "delta": piece})


def stop(index):
    return event({"type": "content_block_stop", "index": index})


TOOL_STREAM = [
    event(
        {
            "type": "message_start",
            "message": json.loads(message([], None, usage=USAGE | {"output_tokens": 1})),
        }
    ),
    block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
    delta(0, type="thinking_delta", thinking="hm"),
    delta(0, type="signature_delta", signature="s"),
    stop(0),
    event({"type": "ping"}),
    block_start(1, {"type": "text", "text": ""}),
    delta(1, type="text_delta", text="Gleich 👋"),
    stop(1),
    block_start(2, {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {}}),
    delta(2, type="input_json_delta", partial_json=""),
    delta(2, type="input_json_delta", partial_json='{"city":'),
    delta(2, type="input_json_delta", partial_json=' "Zürich"}'),
    stop(2),
    block_start(3, {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}}),
    stop(3),
    event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {"output_tokens": 30},
        }
    ),
    event({"type": "message_stop"}),
]


def test_OAI12_OAI21_a_stream_is_read_by_openais_client():
    sent, pipe, error = run(PAIR, chat_call(), TOOL_STREAM)
    chunks = official_clients.read_chat_stream(sent)
    assert (error, pipe.usage) == (None, Usage(21, 5, 6, 0, 30, 9))
    assert {(chunk.id, chunk.model, chunk.created) for chunk in chunks} == {
        ("chatcmpl-msg_1", "claude-x-2026", 0)
    }
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "tool_calls"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Gleich 👋"
    pieces = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert [(p.index, p.id, p.type) for p in pieces if p.id] == [
        (0, "toolu_1", "function"),
        (1, "toolu_2", "function"),
    ]
    for index, arguments in enumerate(['{"city": "Zürich"}', "{}"]):
        fragments = [p.function.arguments or "" for p in pieces if p.index == index and p.function]
        assert "".join(fragments) == arguments
    assert sent.endswith(b"data: [DONE]\n\n")
    assert b"usage" not in sent


def test_OAI13_the_usage_chunk_comes_last_when_asked_for():
    sent, _, _ = run(PAIR, chat_call(stream_options={"include_usage": True}), TOOL_STREAM)
    *others, last = official_clients.read_chat_stream(sent)
    assert last.choices == []
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (21, 30)
    assert all(chunk.usage is None for chunk in others)
    assert sent.count(b'"usage":null') == len(others)


def test_the_sdk_puts_the_stream_together():
    sent, _, _ = run(PAIR, chat_call(), TOOL_STREAM)
    said = official_clients.accumulate_chat_stream(sent).choices[0].message
    assert said.content == "Gleich 👋"
    assert [call.function.arguments for call in said.tool_calls] == ['{"city": "Zürich"}', "{}"]


@given(cuts(b"".join(TOOL_STREAM)))
def test_F13_the_network_may_cut_a_stream_anywhere(pieces):
    whole, piped = run(PAIR, chat_call(), TOOL_STREAM), run(PAIR, chat_call(), pieces)
    assert (piped[0], piped[2]) == (whole[0], None)
    assert piped[1].usage == whole[1].usage
    assert piped[1].output_tokens_seen == whole[1].output_tokens_seen


def test_G18_a_cut_stream_is_broken():
    sent, pipe, error = run(PAIR, chat_call(), TOOL_STREAM[:-1])
    assert (error, pipe.usage) == ("StreamBrokenError", None)
    assert b"[DONE]" not in sent


def test_an_error_in_the_stream_comes_after_what_was_good():
    failure = event({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    sent, pipe, error = run(PAIR, chat_call(), [b"".join(TOOL_STREAM[:8]) + failure])
    assert error == "UpstreamOverloadedError"
    assert "Gleich" in sent.decode()
    assert pipe.started
