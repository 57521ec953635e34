import json

import pytest
from hypothesis import given

from billing.usage import Usage
from routing.errors import UpstreamProtocolError
from routing.wire.bridges import bridge
from tests.routing.wire.streams import cuts, event, message_call, run

PAIR = ("anthropic_messages", "anthropic_messages")
BRIDGE = bridge(*PAIR)
USAGE = {
    "input_tokens": 10,
    "cache_read_input_tokens": 5,
    "cache_creation_input_tokens": 6,
    "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 4},
    "output_tokens": 1,
}
START = {
    "type": "message_start",
    "message": {"id": "msg_1", "role": "assistant", "content": [], "usage": USAGE},
}
END = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn"},
    "usage": {"output_tokens": 30},
}


def delta(text):
    piece = {"type": "text_delta", "text": text}
    return event({"type": "content_block_delta", "index": 0, "delta": piece})


HELLO = [
    event(START),
    event({"type": "ping"}),
    event(
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    ),
    delta("Grüße "),
    delta("👋"),
    event({"type": "content_block_stop", "index": 0}),
    event(END),
    event({"type": "message_stop"}),
]


def test_ANT07_a_request_passes_byte_for_byte():
    thinking = {"type": "thinking", "thinking": "é", "signature": "a/b+c=="}
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": [thinking]}]
    call = message_call(messages=messages, stream=True, top_k=5)
    assert BRIDGE.request(call, model="claude", max_output_tokens=None) == call.raw


def test_whom_the_application_serves_is_not_sent_on_but_as_anthropic_says_it():
    call = message_call(user_id="a", user="b", metadata={"user_id": "c"})
    body = json.loads(BRIDGE.request(call, model="claude", max_output_tokens=None))
    assert body.keys().isdisjoint({"user_id", "user"})
    assert body["metadata"] == {"user_id": "c"}


def test_the_models_name_and_the_limit_can_change():
    call = message_call()
    body = json.loads(BRIDGE.request(call, model="claude-x", max_output_tokens=7))
    assert body == call.body | {"model": "claude-x", "max_tokens": 7}


def test_ANT09_an_answers_input_includes_what_the_cache_read_and_wrote():
    usage = USAGE | {
        "output_tokens": 30,
        "output_tokens_details": {"thinking_tokens": 9},
    }
    raw = json.dumps(
        {"type": "message", "content": [{"type": "text", "text": "hi"}], "usage": usage}
    )
    answer = BRIDGE.answer(raw.encode(), message_call())
    assert answer.body == raw.encode()
    assert answer.usage == Usage(21, 5, 6, 4, 30, 9)


@pytest.mark.parametrize("raw", [b"no", b"[]", b'{"type":"error","error":{}}', b'{"content":[1]}'])
def test_F21_what_is_not_an_answer_is_a_protocol_error(raw):
    with pytest.raises(UpstreamProtocolError):
        BRIDGE.answer(raw, message_call())


def test_a_stream_passes_byte_for_byte_and_its_usage_is_read():
    sent, pipe, error = run(PAIR, message_call(), HELLO)
    assert (sent, error) == (b"".join(HELLO), None)
    assert pipe.usage == Usage(21, 5, 6, 4, 30, 0)


@given(cuts(b"".join(HELLO)))
def test_F13_the_network_may_cut_a_stream_anywhere(pieces):
    sent, pipe, error = run(PAIR, message_call(), pieces)
    assert (sent, error) == (b"".join(HELLO), None)
    assert pipe.usage == Usage(21, 5, 6, 4, 30, 0)


def test_ANT09_the_last_totals_win_over_the_breakdown_of_the_start():
    totals = {"input_tokens": 100, "cache_creation_input_tokens": 0, "output_tokens": 3}
    frames = [event(START), event(END | {"usage": totals}), event({"type": "message_stop"})]
    assert run(PAIR, message_call(), frames)[1].usage == Usage(105, 5, 0, 0, 3, 0)


def test_F12_an_end_without_message_stop_is_broken():
    _, pipe, error = run(PAIR, message_call(), HELLO[:-1])
    assert (error, pipe.usage) == ("StreamBrokenError", None)


def test_the_figures_of_a_broken_stream_cover_what_was_seen():
    _, pipe, _ = run(PAIR, message_call(), [event(START), delta("word " * 10)])
    assert pipe.usage_so_far == Usage(21, 5, 6, 4, 10, 0)


def test_ANT05_an_error_before_content_lets_another_target_try():
    failure = event({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})
    sent, pipe, error = run(PAIR, message_call(), [event(START), failure])
    assert (sent, error, pipe.started) == (event(START), "UpstreamOverloadedError", False)


def test_ANT06_thinking_and_tool_arguments_count_as_output():
    frames = [
        event(
            {
                "type": "content_block_delta",
                "delta": {"type": "thinking_delta", "thinking": "word " * 10},
            }
        ),
        event(
            {
                "type": "content_block_delta",
                "delta": {"type": "signature_delta", "signature": "s" * 99},
            }
        ),
        event(
            {
                "type": "content_block_delta",
                "delta": {"type": "input_json_delta", "partial_json": "word " * 10},
            }
        ),
    ]
    assert run(PAIR, message_call(), frames)[1].output_tokens_seen == 20


def test_ANT03_an_event_without_a_name_gets_its_name():
    frames = [b'data: {"type":"message_stop"}\n\n']
    assert (
        run(PAIR, message_call(), frames)[0]
        == b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


def test_an_unknown_event_passes():
    unknown = event({"type": "content_block_novelty", "x": 1})
    assert run(PAIR, message_call(), [unknown, HELLO[-1]])[0] == unknown + HELLO[-1]
