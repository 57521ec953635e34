import json

import pytest
from hypothesis import given

from billing.usage import Usage
from routing.errors import UpstreamProtocolError
from routing.wire.bridges import add_gateway_fields, bridge
from tests.routing.wire.streams import chat_call, chunk, cuts, data, run

PAIR = ("openai_chat", "openai_chat")
BRIDGE = bridge(*PAIR)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
DONE = b"data: [DONE]\n\n"
HELLO = [
    chunk({"role": "assistant", "content": ""}, usage=None),
    b": keep-alive\n\n",
    chunk({"content": "Grüße "}, usage=None),
    chunk({"content": "👋"}, usage=None),
    chunk(finish="stop", usage=None),
    data({"id": "chatcmpl-1", "choices": [], "usage": USAGE}),
    DONE,
]


def request(call, model="gpt-4o", max_output_tokens=None):
    return BRIDGE.request(call, model=model, max_output_tokens=max_output_tokens)


def test_OAI30_a_request_passes_byte_for_byte():
    call = chat_call(stream=False, seed=1, api_base="x", unknown={"b": 1, "a": [1.0, None]})
    assert request(call) == call.raw


def test_the_models_name_changes_and_our_own_fields_stay_here():
    call = chat_call(stream=False, provider="openai", user_id="u", user="kept")
    body = json.loads(request(call, model="gpt-4o-mini"))
    expected = {**call.body, "model": "gpt-4o-mini"}
    del expected["provider"], expected["user_id"]
    assert body == expected


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        ({"include_obfuscation": False}, {"include_obfuscation": False, "include_usage": True}),
    ],
)
def test_OAI13_a_stream_is_always_asked_for_usage(options, sent):
    assert json.loads(request(chat_call(stream_options=options)))["stream_options"] == sent


def test_a_call_that_is_not_streamed_is_not_asked_for_stream_options():
    assert "stream_options" not in json.loads(request(chat_call(stream=False)))


@pytest.mark.parametrize(
    ("fields", "model", "granted", "expected"),
    [
        ({}, "gpt-4o", 100, {"max_tokens": 100}),
        ({}, "o3-mini", 100, {"max_completion_tokens": 100}),
        ({}, "openai/gpt-5.1", 100, {"max_completion_tokens": 100}),
        ({"max_tokens": None}, "gpt-4o", 100, {"max_tokens": 100}),
        ({"max_completion_tokens": 50}, "gpt-4o", None, {"max_completion_tokens": 50}),
        ({"max_completion_tokens": 50}, "gpt-4o", 20, {"max_completion_tokens": 20}),
        ({"max_tokens": 50}, "gpt-5", None, {"max_completion_tokens": 50}),
        ({"max_tokens": 50}, "gpt-4o", None, {"max_tokens": 50}),
        ({"max_tokens": 5, "max_completion_tokens": 9}, "gpt-4o", None, {"max_tokens": 9}),
        ({"max_tokens": 5, "max_completion_tokens": 9}, "o1", None, {"max_completion_tokens": 9}),
        ({}, "gpt-4o", None, {}),
        ({}, "oasis-1", 1, {"max_tokens": 1}),
    ],
)
def test_OAI25_one_output_limit_goes_out_in_the_field_the_model_takes(
    fields, model, granted, expected
):
    body = json.loads(request(chat_call(**fields), model=model, max_output_tokens=granted))
    assert {name: body[name] for name in body if name.startswith("max")} == expected


def test_an_answer_passes_byte_for_byte_and_its_usage_is_read():
    details = {
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    message = {"role": "assistant", "content": "word " * 10}
    raw = json.dumps({"choices": [{"message": message}], "usage": USAGE | details}).encode()
    answer = BRIDGE.answer(raw, chat_call())
    assert answer.body == raw
    assert answer.usage == Usage(7, 4, 1, 0, 3, 2)
    assert answer.output_tokens_seen == 10


@pytest.mark.parametrize(
    "raw",
    [b"", b"<html>", b"[]", b'{"error":{"message":"no"}}', b'{"choices":null}', b'{"choices":[1]}'],
)
def test_F21_what_is_not_an_answer_is_a_protocol_error(raw):
    with pytest.raises(UpstreamProtocolError):
        BRIDGE.answer(raw, chat_call())


def test_usage_in_an_error_answer_is_kept():
    with pytest.raises(UpstreamProtocolError) as failure:
        BRIDGE.answer(json.dumps({"error": {}, "usage": USAGE}).encode(), chat_call())
    assert failure.value.usage == Usage(input_tokens=7, output_tokens=3)


def test_OAI13_who_asked_for_usage_gets_the_stream_byte_for_byte():
    sent, pipe, error = run(PAIR, chat_call(stream_options={"include_usage": True}), HELLO)
    assert (sent, error) == (b"".join(HELLO), None)
    assert pipe.usage == Usage(input_tokens=7, output_tokens=3)


def test_OAI13_who_did_not_ask_sees_no_usage_at_all():
    sent, pipe, error = run(PAIR, chat_call(), HELLO)
    assert b"usage" not in sent
    assert sent.count(b"data: ") == len(HELLO) - 2
    assert (pipe.usage, error) == (Usage(input_tokens=7, output_tokens=3), None)


@given(cuts(b"".join(HELLO)))
def test_F13_the_network_may_cut_a_stream_anywhere(pieces):
    whole, piped = run(PAIR, chat_call(), [b"".join(HELLO)]), run(PAIR, chat_call(), pieces)
    assert piped[0] == whole[0]
    assert piped[1].usage == whole[1].usage
    assert piped[1].output_tokens_seen == whole[1].output_tokens_seen


@given(cuts(b"\xef\xbb\xbf" + b"".join(HELLO).replace(b"\n", b"\r\n")))
def test_F13_line_ends_may_be_crlf_and_cut_in_half(pieces):
    sent, pipe, error = run(PAIR, chat_call(), pieces)
    assert sent.replace(b"\r\n", b"\n") == run(PAIR, chat_call(), HELLO)[0]
    assert (pipe.usage, error) == (Usage(input_tokens=7, output_tokens=3), None)


def test_F13_lines_may_end_in_cr_alone():
    pieces = [frame.replace(b"\n", b"\r") for frame in HELLO]
    sent, pipe, error = run(PAIR, chat_call(), pieces)
    assert (sent.count(b"data: "), pipe.finished, error) == (len(HELLO) - 2, True, None)


def test_OAI14_usage_beside_choices_and_in_every_chunk_is_read_last_and_hidden():
    frames = [
        chunk({"content": "a"}, usage=USAGE | {"completion_tokens": 1}),
        chunk({"content": "b"}, "stop", usage=USAGE | {"completion_tokens": 2}),
    ]
    sent, pipe, _ = run(PAIR, chat_call(), frames)
    assert b"usage" not in sent
    assert b'"b"' in sent
    assert pipe.usage == Usage(input_tokens=7, output_tokens=2)


def test_OAI14_an_explicit_zero_is_a_report():
    zero = {"prompt_tokens": 0, "completion_tokens": 0}
    assert run(PAIR, chat_call(), [chunk(finish="stop", usage=zero)])[1].usage == Usage()


def test_F16_no_usage_leaves_an_estimate_of_what_was_seen():
    frames = [
        chunk({"role": "assistant"}),
        chunk({"reasoning_content": "word " * 5}),
        chunk(
            {
                "tool_calls": [
                    {"index": 0, "id": "c", "function": {"name": "f", "arguments": "one two three"}}
                ]
            }
        ),
        chunk(finish="tool_calls"),
    ]
    _, pipe, error = run(PAIR, chat_call(), frames)
    assert (pipe.usage, error) == (None, None)
    assert pipe.output_tokens_seen == 8


def test_a_finish_without_the_marker_is_complete_and_gets_one():
    sent, pipe, error = run(PAIR, chat_call(), [chunk({"content": "a"}), chunk(finish="stop")])
    assert sent.endswith(DONE)
    assert (pipe.finished, error) == (True, None)


def test_a_marker_without_its_last_line_end_is_a_marker():
    sent, _, error = run(PAIR, chat_call(), [chunk({"content": "a"}), b"data: [DONE]"])
    assert (sent.endswith(DONE), error) == (True, None)


@pytest.mark.parametrize("tail", [b"", b'data: {"choices":[{"delta":{"con', b"data: {"])
def test_F12_an_end_without_a_finish_is_broken(tail):
    sent, pipe, error = run(PAIR, chat_call(), [chunk({"content": "a"}), tail])
    assert (sent, error) == (chunk({"content": "a"}), "StreamBrokenError")
    assert not pipe.finished


def test_every_choice_must_finish():
    one = chunk(finish="stop")
    other = data({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]})
    assert run(PAIR, chat_call(n=2), [one])[2] == "StreamBrokenError"
    assert run(PAIR, chat_call(n=2), [one, other])[2] is None


def test_the_figures_of_a_broken_stream_cover_what_was_seen():
    early = USAGE | {"completion_tokens": 1}
    _, pipe, _ = run(PAIR, chat_call(), [chunk({"content": "word " * 20}, usage=early)])
    assert pipe.usage is None
    assert pipe.usage_so_far == Usage(input_tokens=7, output_tokens=20)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "m", "type": "server_error"}, "UpstreamFailingError"),
        (
            {"message": "m", "type": "tokens", "code": "rate_limit_exceeded"},
            "UpstreamRateLimitedError",
        ),
        ({"message": "m", "code": 503}, "UpstreamOverloadedError"),
        ({"message": "m", "code": "invalid_api_key"}, "UpstreamAuthError"),
        ({"message": "m", "code": "content_filter"}, "UpstreamRefusedRequestError"),
        ("text", "UpstreamFailingError"),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_good(error, expected):
    good = chunk({"content": "a"})
    sent, pipe, raised = run(
        PAIR, chat_call(), [good + data({"error": error}), chunk({"content": "b"})]
    )
    assert (sent, raised) == (good, expected)
    assert type(pipe.failure).__name__ == expected


def test_an_error_keeps_the_providers_words_in_and_its_codes():
    failure = data({"error": {"message": "key sk-123 at 10.0.0.1", "type": "server_error"}})
    pipe = BRIDGE.stream(chat_call())
    with pytest.raises(Exception, match=r"\(server_error\)$") as raised:
        pipe.feed(failure)
    assert "sk-123" not in str(raised.value)
    assert not pipe.started


def test_F13_broken_json_is_a_protocol_error():
    assert run(PAIR, chat_call(), [b'data: {"choices":\n\n'])[2] == "UpstreamProtocolError"


@pytest.mark.parametrize(
    "frame", [b"data: ping\n\n", b"data:\n\n", b"event: ping\n\n", b"id: 1\n\n"]
)
def test_data_that_no_client_could_read_is_left_out(frame):
    sent, _, error = run(PAIR, chat_call(), [frame, chunk(finish="stop"), DONE])
    assert (sent, error) == (chunk(finish="stop") + DONE, None)


def test_F13_an_event_over_1_MiB_is_refused_and_one_under_passes():
    large = chunk({"content": "x" * 1_000_000}, "stop")
    assert run(PAIR, chat_call(), [large])[0] == large + DONE
    too_large = chunk({"content": "x" * (1 << 20)})
    pieces = [too_large[i : i + 65_536] for i in range(0, len(too_large), 65_536)]
    assert run(PAIR, chat_call(), [too_large])[2] == "UpstreamProtocolError"
    assert run(PAIR, chat_call(), pieces)[2] == "UpstreamProtocolError"


def test_data_over_several_lines_is_one_event():
    frame = chunk({"content": "a"}, "stop").replace(b', "delta"', b',\ndata: "delta"')
    sent, pipe, error = run(PAIR, chat_call(), [frame])
    assert (sent, pipe.output_tokens_seen, error) == (frame + DONE, 1, None)


def test_only_content_starts_an_answer():
    pipe = BRIDGE.stream(chat_call())
    pipe.feed(data({"choices": [], "prompt_filter_results": [{"content": "safe"}]}))
    pipe.feed(chunk({"role": "assistant", "content": ""}))
    assert not pipe.started
    pipe.feed(chunk({"content": "a"}))
    assert pipe.started


def test_nothing_passes_after_the_marker():
    sent, _, _ = run(PAIR, chat_call(), [chunk(finish="stop"), DONE, chunk({"content": "late"})])
    assert sent == chunk(finish="stop") + DONE


def test_gateway_fields_are_added_at_the_top():
    body = add_gateway_fields(b'{"id":"x","n":1.50}\n', provider="main", latency_ms=12)
    assert body == b'{"id":"x","n":1.50,"provider":"main","latency_ms":12}\n'


def test_gateway_fields_replace_a_providers_own():
    raw = b'{"provider":"theirs","x":{"provider":1},"l\\u0061tency_ms":1}'
    fields = json.loads(add_gateway_fields(raw, provider="main", latency_ms=2))
    assert fields == {"provider": "main", "x": {"provider": 1}, "latency_ms": 2}
