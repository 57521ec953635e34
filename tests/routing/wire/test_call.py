import json

import pytest

from keys.errors import InvalidRequestError
from routing.wire.call import read_request

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
MESSAGE = {"model": "claude", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


def chat(**fields):
    return read_request("openai_chat", json.dumps(CHAT | fields).encode())


def message(**fields):
    return read_request("anthropic_messages", json.dumps(MESSAGE | fields).encode())


def test_a_plain_chat_is_read():
    call = chat()
    assert (call.model, call.stream, call.choices, call.max_output_tokens) == (
        "gpt-4o",
        False,
        1,
        None,
    )
    assert (call.provider, call.end_user, call.include_usage) == (None, "", False)


def test_a_plain_message_is_read():
    call = message(metadata={"user_id": "u-1"}, stream=True)
    assert (call.model, call.stream, call.max_output_tokens) == ("claude", True, 5)
    assert (call.end_user, call.provider) == ("u-1", None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"model": ""}, "model"),
        ({"model": "a" * 201}, "model"),
        ({"model": "a\nb"}, "model"),
        ({"model": "a\0"}, "model"),
        ({"model": "<script>"}, "model"),
        ({"model": "модель"}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user"}, {"role": "root"}]}, "messages[1].role"),
        ({"messages": [{"role": ["user"]}]}, "messages[0].role"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"n": True}, "n"),
        ({"n": 2**64 - 64}, "n"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1e3}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 2**63}, "max_tokens"),
        ({"max_completion_tokens": 10_000_001}, "max_completion_tokens"),
        ({"provider": {"order": []}}, "provider"),
        ({"user_id": "u" * 257}, "user_id"),
        ({"user_id": 7}, "user_id"),
        ({"user": "a\0b"}, "user"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools[0]"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
    ],
)
def test_F54_F55_F58_a_bad_field_of_a_chat_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refusal:
        chat(**fields)
    assert refusal.value.param == param


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "tool"}]}, "messages[0].role"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"user_id": 1}}, "metadata.user_id"),
    ],
)
def test_ANT12_a_bad_field_of_a_message_is_refused_by_name(fields, param):
    with pytest.raises(InvalidRequestError) as refusal:
        message(**fields)
    assert refusal.value.param == param


@pytest.mark.parametrize("name", ["max_tokens", "n", "stream", "user", "stream_options", "tools"])
def test_a_null_is_as_good_as_absent(name):
    assert chat(**{name: None}).choices == 1


def test_R53_the_larger_of_two_output_limits_counts():
    assert chat(max_tokens=10, max_completion_tokens=900).max_output_tokens == 900
    assert chat(max_tokens=901, max_completion_tokens=90).max_output_tokens == 901


def test_user_id_comes_before_user():
    assert chat(user_id="a", user="b").end_user == "a"
    assert chat(user_id="", user="b").end_user == "b"


def test_a_messages_own_field_comes_before_what_anthropic_calls_it():
    metadata = {"user_id": "c"}
    assert message(user_id="a", user="b", metadata=metadata).end_user == "a"
    assert message(user="b", metadata=metadata).end_user == "b"
    assert message(user_id="", user="", metadata=metadata).end_user == "c"


@pytest.mark.parametrize("name", ["user_id", "user"])
@pytest.mark.parametrize("value", [7, "u" * 257, "a\0", ["u"]])
def test_a_messages_end_user_must_be_storable(name, value):
    with pytest.raises(InvalidRequestError) as refused:
        message(**{name: value})
    assert refused.value.param == name


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 309, "-" + "9" * 5000])
def test_a_number_that_no_double_holds_is_refused_by_name(name, number):
    raw = json.dumps(CHAT | {name: 0}).replace(f'"{name}": 0', f'"{name}": {number}')
    with pytest.raises(InvalidRequestError, match="number") as refused:
        read_request("openai_chat", raw.encode())
    assert refused.value.param == name


@pytest.mark.parametrize(
    "name", ["ft:gpt-4o:org::id1", "accounts/x/models/y-2.5", "llama3:8b_q4", "@cf/m"]
)
def test_real_model_names_pass(name):
    assert chat(model=name).model == name


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "model_list", "custom_host", "extra_headers"]
)
def test_R1_a_routing_field_steers_nothing(name):
    plain, smuggled = chat(), chat(**{name: "http://elsewhere.example"})
    assert smuggled.provider is None
    assert smuggled.model == plain.model
