import json

import pytest

from routing.wire import input_bound
from routing.wire.call import read_request

PIXELS = "A" * 400_000


def bound_of_chat(content, **fields):
    body = {"model": "m", "messages": [{"role": "user", "content": content}]} | fields
    return read_request("openai_chat", json.dumps(body).encode()).input_bound.tokens


def bound_of_message(content):
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
    return read_request("anthropic_messages", json.dumps(body).encode()).input_bound.tokens


def test_a_text_has_at_most_a_token_a_byte():
    assert bound_of_chat("語" * 1000) >= 3000


def test_an_inline_image_is_not_counted_by_its_length():
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXELS}"}}
    bound = bound_of_chat([image, {"type": "text", "text": "what?"}])
    assert input_bound.IMAGE_TOKENS < bound < input_bound.IMAGE_TOKENS + 1000


def test_the_small_model_that_counts_images_dearly_adds_its_surplus():
    image = {"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png"}}
    body = {"model": "any", "messages": [{"role": "user", "content": [image, image]}]}
    bound = read_request("openai_chat", json.dumps(body).encode()).input_bound
    assert bound.tokens + bound.mini_surplus > 2 * input_bound.MINI_IMAGE_TOKENS


@pytest.mark.parametrize("detail", ["low", "auto", "high", 7, None])
def test_no_detail_that_a_provider_may_not_hear_of_lowers_the_bound_of_an_image(detail):
    image = {"type": "image_url", "image_url": {"url": "https://p.example/cat", "detail": detail}}
    assert bound_of_chat([image]) > input_bound.IMAGE_TOKENS


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": "https://pictures.example/cat.png"},
        {"type": "video_url", "video_url": {"url": "https://pictures.example/cat.mp4"}},
    ],
)
def test_what_only_servers_that_imitate_openai_take_is_bounded_too(part):
    assert bound_of_chat([part]) > input_bound.IMAGE_TOKENS


def test_text_in_the_place_of_an_image_url_still_counts():
    image = {"type": "image_url", "image_url": {"url": "x" * 50_000}}
    assert bound_of_chat([image]) > 50_000


def test_audio_counts_by_its_length_in_time():
    audio = {"type": "input_audio", "input_audio": {"data": PIXELS, "format": "mp3"}}
    assert 10_000 < bound_of_chat([audio]) < 20_000


def test_an_image_in_a_tool_result_is_found():
    source = {"type": "base64", "media_type": "image/png", "data": PIXELS}
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "image", "source": source}],
    }
    assert bound_of_message([result]) < input_bound.IMAGE_TOKENS + 1000


def test_a_document_is_bounded_generously():
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * 1000}
    bound = bound_of_message([{"type": "document", "source": source}])
    assert bound >= input_bound.SMALLEST_DOCUMENT_TOKENS


def test_every_tool_adds_its_frame():
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    one, two = bound_of_chat("x", tools=[tool]), bound_of_chat("x", tools=[tool, tool])
    assert one > bound_of_chat("x") + input_bound.TOOLS_TOKENS
    assert two > one + input_bound.TOOL_TOKENS


def test_a_search_by_the_provider_may_read_a_context_window():
    assert bound_of_chat("x", web_search_options={}) > input_bound.SERVER_TOOL_TOKENS
