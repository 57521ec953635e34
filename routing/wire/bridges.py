"""Which words a client speaks and which a provider understands: the grid of bridges."""

from routing.wire.anthropic_messages.passing import AnthropicMessagesPassage
from routing.wire.bridge import Bridge, BridgedAnswer, StreamPipe
from routing.wire.openai_chat.passing import OpenAIChatPassage, add_gateway_fields

__all__ = ["Bridge", "BridgedAnswer", "StreamPipe", "add_gateway_fields", "bridge"]

_GRID: dict[tuple[str, str], Bridge] = {
    # client, provider
    ("openai_chat", "openai_chat"): OpenAIChatPassage(),
    ("anthropic_messages", "anthropic_messages"): AnthropicMessagesPassage(),
}


def bridge(client_format: str, upstream_format: str) -> Bridge:
    """The bridge from a client's wire format to a provider's."""
    return _GRID[client_format, upstream_format]
