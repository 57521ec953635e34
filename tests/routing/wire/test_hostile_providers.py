"""Whatever a provider sends, a pipe answers with frames or with an upstream error."""

import contextlib
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routing.errors import UpstreamError
from routing.wire.bridges import bridge
from tests.routing.wire.streams import chat_call, message_call

CALLS = {
    "openai_chat": chat_call(),
    "anthropic_messages": message_call(),
}
GRID = list(itertools.product(CALLS, CALLS))
NAMES = [
    *("choices", "delta", "message", "index", "finish_reason", "usage", "error", "content", "id"),
    *("tool_calls", "function", "name", "arguments", "type", "content_block", "text", "role"),
    *("stop_reason", "stop_details", "partial_json", "thinking", "input", "refusal", "model"),
    *("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_creation"),
]
WORDS = [
    *("message_start", "content_block_start", "content_block_delta", "content_block_stop"),
    *("message_delta", "message_stop", "text_delta", "input_json_delta", "tool_use", "text"),
    *("stop", "refusal", "", "{}", "é"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5)
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)


@pytest.mark.parametrize("formats", GRID)
@given(events=st.lists(OBJECTS, min_size=1, max_size=4))
def test_G23_any_events_are_survived(formats, events):
    pipe = bridge(*formats).stream(CALLS[formats[0]])
    with contextlib.suppress(UpstreamError):
        for event in events:
            pipe.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
        pipe.end()
    assert pipe.output_tokens_seen >= 0


@pytest.mark.parametrize("formats", GRID)
@given(
    pieces=st.lists(
        st.binary(max_size=20) | st.sampled_from([b"data: ", b"\n", b"\r\n", b"{", b"[DONE]"]),
        max_size=9,
    )
)
def test_G23_any_bytes_are_survived(formats, pieces):
    pipe = bridge(*formats).stream(CALLS[formats[0]])
    with contextlib.suppress(UpstreamError):
        for piece in pieces:
            pipe.feed(piece)
        pipe.end()
    assert pipe.output_tokens_seen >= 0


@pytest.mark.parametrize("formats", GRID)
@given(body=OBJECTS)
def test_G23_any_answer_is_survived(formats, body):
    with contextlib.suppress(UpstreamError):
        answer = bridge(*formats).answer(json.dumps(body).encode(), CALLS[formats[0]])
        assert json.loads(answer.body)


@pytest.mark.parametrize("formats", GRID)
def test_events_nested_like_a_bomb_are_survived(formats):
    deep = b'{"a":' * 1000 + b"1" + b"}" * 1000
    event = b'{"type":"content_block_delta","delta":%b,"choices":[{"delta":%b}]}' % (deep, deep)
    pipe = bridge(*formats).stream(CALLS[formats[0]])
    pipe.feed(b"data: " + event + b"\n\n")
    assert not pipe.started
