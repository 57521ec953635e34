"""Which words a client speaks and which a provider understands: the grid of bridges."""

from routing.wire.anthropic_messages import answers as anthropic_answers
from routing.wire.anthropic_messages import request_reading as anthropic_request_reading
from routing.wire.anthropic_messages import request_writing as anthropic_request_writing
from routing.wire.anthropic_messages.passing import AnthropicMessagesPassage
from routing.wire.anthropic_messages.streams import (
    AnthropicMessagesStreamReader,
    AnthropicMessagesStreamWriter,
)
from routing.wire.bridge import Bridge, BridgedAnswer, StreamPipe
from routing.wire.openai_chat import answers as openai_answers
from routing.wire.openai_chat import request_reading as openai_request_reading
from routing.wire.openai_chat import request_writing as openai_request_writing
from routing.wire.openai_chat.passing import OpenAIChatPassage, add_gateway_fields
from routing.wire.openai_chat.streams import OpenAIChatStreamReader, OpenAIChatStreamWriter
from routing.wire.translating import TranslatingBridge
from routing.wire.words import Words

__all__ = ["Bridge", "BridgedAnswer", "StreamPipe", "add_gateway_fields", "bridge"]

_OPENAI_CHAT = Words(
    read_request=openai_request_reading.read_request,
    write_request=openai_request_writing.write_request,
    read_answer=openai_answers.read_answer,
    write_answer=openai_answers.write_answer,
    stream_reader=OpenAIChatStreamReader,
    stream_writer=OpenAIChatStreamWriter,
)
_ANTHROPIC_MESSAGES = Words(
    read_request=anthropic_request_reading.read_request,
    write_request=anthropic_request_writing.write_request,
    read_answer=anthropic_answers.read_answer,
    write_answer=anthropic_answers.write_answer,
    stream_reader=AnthropicMessagesStreamReader,
    stream_writer=AnthropicMessagesStreamWriter,
)

_GRID: dict[tuple[str, str], Bridge] = {
    # client, provider
    ("openai_chat", "openai_chat"): OpenAIChatPassage(),
    ("openai_chat", "anthropic_messages"): TranslatingBridge(_OPENAI_CHAT, _ANTHROPIC_MESSAGES),
    ("anthropic_messages", "openai_chat"): TranslatingBridge(_ANTHROPIC_MESSAGES, _OPENAI_CHAT),
    ("anthropic_messages", "anthropic_messages"): AnthropicMessagesPassage(),
}


def bridge(client_format: str, upstream_format: str) -> Bridge:
    """The bridge from a client's wire format to a provider's."""
    return _GRID[client_format, upstream_format]
