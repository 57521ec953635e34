"""The official SDKs as judges: what they read of our bytes, and whether our bodies fit their types.

No socket: the SDK's own transport is answered from memory.
"""

from typing import Any

import anthropic
import httpx2
import openai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat.completion_create_params import CompletionCreateParams

from tests.routing.wire.typed_dicts import misfit


def _transport(stream: bytes) -> httpx2.Client:
    headers = {"content-type": "text/event-stream"}
    reply = httpx2.Response(200, headers=headers, content=stream)
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: reply))


def read_chat_stream(stream: bytes) -> list[ChatCompletionChunk]:
    client = openai.OpenAI(api_key="k", http_client=_transport(stream), max_retries=0)
    chunks = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hi"}], stream=True
    )
    return [ChatCompletionChunk.model_validate(chunk.model_dump(), strict=True) for chunk in chunks]


def accumulate_chat_stream(stream: bytes) -> Any:
    """The whole answer, as the SDK's own accumulation puts it together."""
    client = openai.OpenAI(api_key="k", http_client=_transport(stream), max_retries=0)
    with client.chat.completions.stream(
        model="m", messages=[{"role": "user", "content": "hi"}]
    ) as events:
        return events.get_final_completion()


def accumulate_message_stream(stream: bytes) -> anthropic.types.Message:
    client = anthropic.Anthropic(api_key="k", http_client=_transport(stream), max_retries=0)
    with client.messages.stream(
        model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]
    ) as events:
        return events.get_final_message()


def read_completion(body: bytes) -> ChatCompletion:
    return ChatCompletion.model_validate_json(body, strict=True)


def read_message(body: bytes) -> anthropic.types.Message:
    return anthropic.types.Message.model_validate_json(body, strict=True)


def misfit_of_message(body: dict[str, Any]) -> str:
    """Where a request body leaves the types of Anthropic's client; "" when it fits."""
    return misfit(body, anthropic.types.MessageCreateParams)


def misfit_of_chat(body: dict[str, Any]) -> str:
    """Where a request body leaves the types of OpenAI's client; "" when it fits."""
    return misfit(body, CompletionCreateParams)
