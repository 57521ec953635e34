"""What a provider says it used is kept when its stream ends in an error, wherever it says so."""

import pytest

from billing.usage import Usage
from tests.routing.wire.streams import chat_call, chunk, data, event, message_call, run

CALLS = {"openai_chat": chat_call, "anthropic_messages": message_call}
OPENAI = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
ANTHROPIC = {"input_tokens": 1000, "output_tokens": 500}
ERROR = {"message": "boom", "type": "server_error"}
BOOM = {"type": "api_error", "message": "boom"}
START = {"type": "message", "id": "msg_1", "model": "claude", "role": "assistant", "content": []}
HELLO = event(
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
)


def started(**usage: int) -> bytes:
    return event({"type": "message_start", "message": START | {"usage": usage}})


@pytest.mark.parametrize("client", CALLS)
@pytest.mark.parametrize(
    "frames",
    [
        [data({"error": ERROR, "usage": OPENAI})],
        [data({"error": ERROR | {"usage": OPENAI}})],
        [b"event: error\n" + data(ERROR | {"usage": OPENAI})],
        [data({"choices": [], "usage": OPENAI}), data({"error": ERROR})],
        [data({"choices": [], "usage": OPENAI}), data({"error": ERROR, "usage": None})],
        [chunk({"content": "Hello"}), data({"error": ERROR | {"usage": OPENAI}})],
        [chunk({"content": "Hello"}), data({"error": ERROR, "usage": OPENAI})],
        [chunk({"content": "Hello"}), data({"error": ERROR | {"usage": OPENAI}, "usage": {}})],
    ],
)
def test_MON_04_usage_of_a_chat_completion_that_ends_in_an_error_is_kept(client, frames):
    _, pipe, error = run((client, "openai_chat"), CALLS[client](), frames)
    assert error == "UpstreamFailingError"
    assert pipe.usage_so_far == Usage(input_tokens=1000, output_tokens=500)


@pytest.mark.parametrize("client", CALLS)
@pytest.mark.parametrize(
    ("frames", "output_tokens"),
    [
        ([event({"type": "error", "error": BOOM, "usage": ANTHROPIC})], 500),
        ([event({"type": "error", "error": BOOM | {"usage": ANTHROPIC}})], 500),
        ([started(input_tokens=1000, output_tokens=1), event({"type": "error", "error": BOOM})], 1),
        (
            [
                started(input_tokens=1000, output_tokens=1),
                HELLO,
                event({"type": "error", "error": BOOM | {"usage": {"output_tokens": 500}}}),
            ],
            500,
        ),
    ],
)
def test_MON_04_usage_of_a_message_that_ends_in_an_error_is_kept(client, frames, output_tokens):
    _, pipe, error = run((client, "anthropic_messages"), CALLS[client](), frames)
    assert error == "UpstreamFailingError"
    assert pipe.usage_so_far == Usage(input_tokens=1000, output_tokens=output_tokens)


@pytest.mark.parametrize("client", CALLS)
@pytest.mark.parametrize(
    ("provider", "frame"),
    [
        ("openai_chat", data({"error": ERROR | {"usage": "much"}, "usage": [OPENAI]})),
        ("openai_chat", data({"error": "boom", "usage": None})),
        ("anthropic_messages", event({"type": "error", "error": "boom", "usage": 7})),
        ("anthropic_messages", event({"type": "error"})),
    ],
)
def test_an_error_that_reports_nothing_usable_costs_nothing(client, provider, frame):
    _, pipe, error = run((client, provider), CALLS[client](), [frame])
    assert error is not None
    assert pipe.usage_so_far is None
