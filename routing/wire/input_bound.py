"""How many input tokens a request can cost at most, and about how many it will.

Every token of a text stands for at least one of its bytes, and the JSON around a text is
longer than what a chat template adds to it: so the length of the body bounds its text.
Media do not count by length; each has a bound of its own, from what providers publish.
What is fetched while the provider works (server tools, a document behind a URL) has no
provable bound: a provider that reports more is charged in full.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

# The frame that a provider puts around any conversation, structured output included.
CALL_TOKENS = 200
# Hidden instructions that come once with any tools: at most 935 tokens.
# Source: https://docs.anthropic.com/en/docs/tool-use-pricing-and-tokens (2026-11-24).
TOOLS_TOKENS = 1_000
# A tool's frame beyond its own JSON; a tool that the provider brings has a hidden description.
TOOL_TOKENS = 50
PROVIDER_TOOL_TOKENS = 2_000
# What a provider's search, fetch or code tool may read in one call: a usual context window.
SERVER_TOOL_TOKENS = 200_000
# One image at the usual detail: OpenAI up to 2,500 patches at 2.46 tokens, Anthropic 4,784,
# open models 6,404. Sources, all of 2026-11-24:
# https://platform.claude.com/docs/en/build-with-claude/vision
# https://docs.together.ai/docs/vision-overview
IMAGE_TOKENS = 6_500
# OpenAI's "original" detail, and the finest that open models read (Qwen2-VL: 16,384 patches).
ORIGINAL_IMAGE_TOKENS = 16_384
# gpt-4o-mini counts 2,833 for an image and 5,667 for each of at most eight tiles.
MINI_IMAGE_TOKENS = 48_200
MINI_MODEL = "gpt-4o-mini"
USUAL_IMAGE_TOKENS = 1_500
# A page costs up to 3,000 tokens of text and an image, and is seldom under 8 kB in a file.
SMALLEST_DOCUMENT_TOKENS = 10_000
LARGEST_DOCUMENT_TOKENS = 1_000_000
DOCUMENT_BY_REFERENCE_TOKENS = 200_000
# Audio: at most 32 tokens a second, and at the thinnest 1,333 base64 characters a second.
AUDIO_CHARACTERS_PER_TOKEN = 32
AUDIO_BY_REFERENCE_TOKENS = 10_000
BYTES_PER_TOKEN = 4

_SERVER_TOOLS = ("web_search", "web_fetch", "code_execution", "tool_search", "mcp", "browser")


class _Media(NamedTuple):
    """One piece that is not text: its length in the body, its bound, and a fair guess."""

    length: int
    bound: int
    estimate: int
    mini_surplus: int = 0


class InputBound(NamedTuple):
    """What a body's input comes to.

    Attributes:
        tokens: the most, wherever the call goes, but for what `mini_surplus` adds.
        estimate: a fair guess.
        mini_surplus: the most that its images take beyond that on a model of `MINI_MODEL`,
            which a call may reach under any public name.
    """

    tokens: int
    estimate: int
    mini_surplus: int


def of_openai_chat(raw: bytes, body: dict[str, Any]) -> InputBound:
    """The input tokens of a chat completions body."""
    media = [
        found
        for message in body["messages"]
        if type(content := message.get("content")) is list
        for part in content
        if type(part) is dict and (found := _openai_part(part))
    ]
    audio = sum(1 for message in body["messages"] if message.get("audio"))
    extra = AUDIO_BY_REFERENCE_TOKENS * audio + _tools(body)
    if body.get("web_search_options") is not None:
        extra += SERVER_TOOL_TOKENS
    return _total(raw, media, extra)


def of_anthropic_messages(raw: bytes, body: dict[str, Any]) -> InputBound:
    """The input tokens of a messages body."""
    media = [
        found
        for message in body["messages"]
        if type(message.get("content")) is list
        for block in _blocks(message["content"])
        if (found := _anthropic_block(block))
    ]
    return _total(raw, media, _tools(body))


def _total(raw: bytes, media: list[_Media], extra: int) -> InputBound:
    text = len(raw)
    bound = estimate = mini_surplus = 0
    for piece in media:
        text -= piece.length
        bound += piece.bound
        estimate += piece.estimate
        mini_surplus += piece.mini_surplus
    tokens = CALL_TOKENS + text + bound + extra
    return InputBound(tokens, text // BYTES_PER_TOKEN + estimate, mini_surplus)


def _tools(body: dict[str, Any]) -> int:
    tools = body.get("tools")
    if not tools:
        return 0
    total = TOOLS_TOKENS
    for tool in tools:
        kind = tool.get("type")
        if kind in (None, "function", "custom"):
            total += TOOL_TOKENS
        elif type(kind) is str and kind.startswith(_SERVER_TOOLS):
            total += SERVER_TOOL_TOKENS
        else:
            total += PROVIDER_TOOL_TOKENS
    return total


def _openai_part(part: dict[str, Any]) -> _Media | None:
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)} as image}:
            return _image(_inline(url), image.get("detail"))
        case {"type": "image_url", "image_url": str(url)}:
            return _image(_inline(url), None)
        case {"type": "input_audio", "input_audio": {"data": str(data)}}:
            tokens = len(data) // AUDIO_CHARACTERS_PER_TOKEN + 1
            return _Media(len(data), tokens, tokens)
        case {"type": "file", "file": {"file_data": str(data)}}:
            return _document(data)
        case {"type": "file" | "video_url"}:
            return _Media(0, DOCUMENT_BY_REFERENCE_TOKENS, SMALLEST_DOCUMENT_TOKENS)
    return None


def _anthropic_block(block: dict[str, Any]) -> _Media | None:
    match block:
        case {"type": "image", "source": dict(source)}:
            data = source.get("data")
            return _image(len(data) if type(data) is str else 0, None)
        case {"type": "document", "source": {"type": "base64", "data": str(data)}}:
            return _document(data)
        case {"type": "document", "source": {"type": "url" | "file"}} | {
            "type": "container_upload"
        }:
            return _Media(0, DOCUMENT_BY_REFERENCE_TOKENS, SMALLEST_DOCUMENT_TOKENS)
    return None


def _blocks(content: list[Any]) -> Iterator[dict[str, Any]]:
    """All blocks, those inside tool results and documents included."""
    for block in content:
        if type(block) is not dict:
            continue
        yield block
        source = block.get("source")
        for inner in (block.get("content"), type(source) is dict and source.get("content")):
            if type(inner) is list:
                yield from _blocks(inner)


def _image(length: int, detail: object) -> _Media:
    # A low detail is no lower bound: a provider of other words is never told of it.
    bound = ORIGINAL_IMAGE_TOKENS if detail == "original" else IMAGE_TOKENS
    mini_surplus = 0 if detail == "low" else MINI_IMAGE_TOKENS - bound
    return _Media(length, bound, USUAL_IMAGE_TOKENS, mini_surplus)


def _document(data: str) -> _Media:
    tokens = min(max(len(data), SMALLEST_DOCUMENT_TOKENS), LARGEST_DOCUMENT_TOKENS)
    return _Media(len(data), tokens, max(tokens // 10, 1))


def _inline(url: str) -> int:
    return len(url) if url[:5].lower() == "data:" else 0
