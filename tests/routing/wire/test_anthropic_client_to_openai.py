import json

import pytest
from hypothesis import given

from billing.usage import Usage
from keys.errors import InvalidRequestError
from routing.errors import UpstreamProtocolError
from routing.wire.bridges import bridge
from tests.routing.wire import official_clients
from tests.routing.wire.streams import chunk, cuts, data, message_call, run

PAIR = ("anthropic_messages", "openai_chat")
BRIDGE = bridge(*PAIR)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {
    "name": "get_weather",
    "description": "Weather of a city",
    "input_schema": CITY,
    "strict": True,
    "cache_control": {"type": "ephemeral"},
}
PIXEL = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
PDF = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
DONE = b"data: [DONE]\n\n"


def request(model="gpt-4o", max_output_tokens=None, **fields):
    call = message_call(**{"stream": False} | fields)
    return json.loads(BRIDGE.request(call, model=model, max_output_tokens=max_output_tokens))


def user(*blocks):
    return [{"role": "user", "content": list(blocks)}]


def text(said):
    return {"type": "text", "text": said, "cache_control": {"type": "ephemeral"}}


def test_a_plain_message_becomes_a_chat():
    assert request() == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 99,
    }


def test_everything_that_can_be_said_fits_the_types_of_openais_client():
    body = request(
        model="gpt-5",
        system=[text("be brief"), text("be kind")],
        messages=[
            *user(
                text("see"), {"type": "image", "source": PIXEL}, {"type": "document", "source": PDF}
            ),
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    text("looking"),
                    {
                        "type": "tool_use",
                        "id": "t1",
                        "name": "get_weather",
                        "input": {"city": "Oslo"},
                    },
                ],
            },
            *user({"type": "tool_result", "tool_use_id": "t1", "content": "snow"}, text("and?")),
            {"role": "system", "content": "hurry"},
        ],
        tools=[WEATHER],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"],
        thinking={"type": "enabled", "budget_tokens": 10_000},
        output_config={"format": {"type": "json_schema", "schema": CITY}},
        metadata={"user_id": "u-1"},
        stream=True,
    )
    assert official_clients.misfit_of_chat(body) == ""
    assert [message["role"] for message in body["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "user",
        "system",
    ]
    assert body["messages"][0]["content"] == "be brief\n\nbe kind"
    assert [part["type"] for part in body["messages"][1]["content"]] == [
        "text",
        "image_url",
        "file",
    ]
    assert body["messages"][2]["content"] == "looking"
    assert (body["tool_choice"], body["parallel_tool_calls"]) == ("required", False)
    assert (body["reasoning_effort"], body["max_completion_tokens"]) == ("medium", 99)
    assert (body["stop"], body["user"]) == (["END"], "u-1")
    assert body["stream_options"] == {"include_usage": True}
    assert "signature" not in json.dumps(body)
    assert "cache_control" not in json.dumps(body)


def test_whom_the_application_serves_is_not_sent_on_but_as_anthropic_says_it():
    assert "user" not in request(user_id="a", user="b")
    assert request(user_id="a", user="b", metadata={"user_id": "c"})["user"] == "c"


def test_images_of_a_tool_result_follow_it():
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [text("a"), {"type": "image", "source": PIXEL}],
    }
    other = {"type": "tool_result", "tool_use_id": "u", "is_error": True, "content": "b"}
    tool, second, shown = request(messages=user(result, other))["messages"]
    assert tool == {"role": "tool", "tool_call_id": "t", "content": "a"}
    assert second == {"role": "tool", "tool_call_id": "u", "content": "Error: b"}
    assert [part["type"] for part in shown["content"]] == ["image_url"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
        ({"type": "any"}, "required"),
        ({"type": "tool", "name": "f"}, {"type": "function", "function": {"name": "f"}}),
    ],
)
def test_OAI22_a_tool_choice_is_mapped(choice, expected):
    assert request(tools=[WEATHER], tool_choice=choice)["tool_choice"] == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, "high"),
        ({"thinking": {"type": "disabled"}}, "none"),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max"),
    ],
)
def test_a_wish_to_think_reaches_the_models_that_can_be_told(fields, expected):
    assert request(model="gpt-5", **fields).get("reasoning_effort") == expected
    assert "reasoning_effort" not in request(model="gpt-4o", **fields)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_k": 5}, "top_k"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [WEATHER | {"input_examples": []}]}, "tools[0].input_examples"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "some"}}, "tool_choice.type"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"stop_sequences": "x"}, "stop_sequences"),
        ({"system": 5}, "system"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"output_config": {"effort": "huge"}}, "output_config.effort"),
        ({"output_config": {"format": {"type": "xml"}}}, "output_config.format"),
        ({"output_config": {"novelty": 1}}, "output_config.novelty"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": user({"type": "search_result"})}, "messages[0].content[0].type"),
        (
            {"messages": user({"type": "image", "source": {"type": "file"}})},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": user({"type": "document", "source": {"type": "url"}})},
            "messages[0].content[0].source.type",
        ),
        (
            {"messages": user({"type": "document", "source": PDF, "citations": {"enabled": True}})},
            "messages[0].content[0].citations",
        ),
        ({"messages": user({"type": "tool_result"})}, "messages[0].content[0].tool_use_id"),
        (
            {"messages": [{"role": "assistant", "content": [{"type": "server_tool_use"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f"}]}
                ]
            },
            "messages[0].content[0].input",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refusal:
        request(**fields)
    assert refusal.value.param == param


USAGE = {
    "prompt_tokens": 21,
    "completion_tokens": 30,
    "total_tokens": 51,
    "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 9},
}


def completion(message, finish="stop", **fields):
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    body = {"id": "chatcmpl-1", "model": "gpt-4o-2024", "choices": [choice], "usage": USAGE}
    return json.dumps(body | fields).encode()


def answer(raw):
    return BRIDGE.answer(raw, message_call())


def test_an_answer_is_a_message():
    bridged = answer(completion({"content": "Grüße", "reasoning_content": "hm"}))
    message = official_clients.read_message(bridged.body)
    assert (message.id, message.model, message.stop_reason) == (
        "msg_chatcmpl-1",
        "gpt-4o-2024",
        "end_turn",
    )
    assert [block.model_dump(exclude_none=True) for block in message.content] == [
        {"type": "text", "text": "Grüße"}
    ]
    assert bridged.usage == Usage(21, 5, 6, 0, 30, 9)
    assert message.usage.model_dump(exclude_none=True) == {
        "input_tokens": 10,
        "cache_read_input_tokens": 5,
        "cache_creation_input_tokens": 6,
        "output_tokens": 30,
    }


def test_tool_calls_become_tool_use():
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
        {"id": None, "type": "function", "function": {"name": "g", "arguments": ""}},
    ]
    message = official_clients.read_message(
        answer(completion({"content": None, "tool_calls": calls}, "tool_calls")).body
    )
    assert message.stop_reason == "tool_use"
    used = [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"]
    assert used == [("c1", "f", {"a": 1}), ("call_1", "g", {})]


@pytest.mark.parametrize(
    ("finish", "stop_reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("content_filter", "refusal"),
        ("eos", "end_turn"),
    ],
)
def test_ANT08_a_finish_reason_is_mapped(finish, stop_reason):
    message = official_clients.read_message(answer(completion({"content": "x"}, finish)).body)
    assert message.stop_reason == stop_reason


def test_an_answer_without_usage_is_estimated():
    bridged = answer(completion({"content": "word " * 10}, usage=None))
    assert (bridged.usage, bridged.output_tokens_seen) == (None, 10)
    assert official_clients.read_message(bridged.body).usage.output_tokens == 10


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{"}}]},
        {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[]"}}]},
        {
            "tool_calls": [
                {"id": "c", "function": {"name": "f", "arguments": '{"a":' * 400 + "1" + "}" * 400}}
            ]
        },
        {"tool_calls": [{"id": "c"}]},
    ],
)
def test_a_malformed_tool_call_is_a_protocol_error_and_keeps_the_usage(message):
    with pytest.raises(UpstreamProtocolError) as failure:
        answer(completion(message))
    assert failure.value.usage == Usage(21, 5, 6, 0, 30, 9)


def call_piece(index, arguments, **first):
    function = {"arguments": arguments}
    piece = {"index": index, "function": function}
    if first:
        piece = {
            "index": index,
            "id": first["id"],
            "type": "function",
            "function": function | {"name": first["name"]},
        }
    return chunk({"tool_calls": [piece]}, usage=None)


TOOL_STREAM = [
    data({"id": "", "choices": [], "prompt_filter_results": []}),
    chunk({"role": "assistant", "content": ""}, usage=None),
    b": keep-alive\n\n",
    chunk({"reasoning_content": "hm"}, usage=None),
    chunk({"content": "Gleich "}, usage=None),
    chunk({"content": "👋"}, usage=None),
    call_piece(0, "", id="c1", name="get_weather"),
    call_piece(0, '{"city":'),
    call_piece(1, "", id="c2", name="now"),
    call_piece(1, "{"),
    call_piece(0, ' "Zürich"}'),
    call_piece(1, "}"),
    chunk(finish="tool_calls", usage=None),
    data({"id": "chatcmpl-1", "choices": [], "usage": USAGE}),
    DONE,
]


def events_of(stream):
    frames = [frame for frame in stream.decode().split("\n\n") if frame.startswith("event: ")]
    pairs = [frame.split("\ndata: ") for frame in frames]
    events = [json.loads(body) for _, body in pairs]
    assert [name.removeprefix("event: ") for name, _ in pairs] == [
        event["type"] for event in events
    ]
    return events


def test_ANT03_blocks_come_one_after_the_other():
    sent, pipe, error = run(PAIR, message_call(), TOOL_STREAM)
    assert (error, pipe.usage) == (None, Usage(21, 5, 6, 0, 30, 9))
    assert [(event["type"], event.get("index")) for event in events_of(sent)] == [
        ("message_start", None),
        ("content_block_start", 0),
        ("content_block_delta", 0),
        ("content_block_delta", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_delta", 1),
        ("content_block_delta", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_delta", 2),
        ("content_block_stop", 2),
        ("message_delta", None),
        ("message_stop", None),
    ]
    assert b"[DONE]" not in sent


def test_OAI21_the_sdk_puts_interleaved_calls_together():
    sent, _, _ = run(PAIR, message_call(), TOOL_STREAM)
    message = official_clients.accumulate_message_stream(sent)
    assert (message.id, message.stop_reason) == ("msg_chatcmpl-1", "tool_use")
    assert [(b.id, b.input) for b in message.content if b.type == "tool_use"] == [
        ("c1", {"city": "Zürich"}),
        ("c2", {}),
    ]
    assert [b.text for b in message.content if b.type == "text"] == ["Gleich 👋"]
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, 30)
    assert message.usage.cache_read_input_tokens == 5


@given(cuts(b"".join(TOOL_STREAM)))
def test_F13_the_network_may_cut_a_stream_anywhere(pieces):
    whole, piped = run(PAIR, message_call(), TOOL_STREAM), run(PAIR, message_call(), pieces)
    assert (piped[0], piped[2]) == (whole[0], None)
    assert piped[1].usage == whole[1].usage
    assert piped[1].output_tokens_seen == whole[1].output_tokens_seen


def test_a_finish_without_the_marker_is_complete():
    sent, pipe, error = run(PAIR, message_call(), TOOL_STREAM[:-1])
    assert (error, pipe.usage) == (None, Usage(21, 5, 6, 0, 30, 9))
    assert events_of(sent)[-1]["type"] == "message_stop"


def test_G18_a_cut_stream_is_broken():
    sent, _, error = run(PAIR, message_call(), TOOL_STREAM[:6])
    assert error == "StreamBrokenError"
    assert b"message_stop" not in sent


def test_a_refusal_is_said_as_text():
    frames = [chunk({"refusal": "not that"}), chunk(finish="content_filter"), DONE]
    message = official_clients.accumulate_message_stream(run(PAIR, message_call(), frames)[0])
    assert message.stop_reason == "refusal"
    assert [b.text for b in message.content if b.type == "text"] == ["not that"]


def test_an_error_in_the_stream_comes_after_what_was_good():
    sent, _, error = run(PAIR, message_call(), [TOOL_STREAM[4] + data({"error": {"code": 429}})])
    assert error == "UpstreamRateLimitedError"
    assert "Gleich" in sent.decode()
