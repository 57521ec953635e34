"""Usage as a provider reports it, in its own habit of counting, read into `Usage`.

A figure that cannot be true is cut to what can be, and flagged; it never goes below zero.
"""

from typing import Any

from billing.usage import LARGEST_TOKEN_COUNT, Usage


def read_openai_usage(reported: object) -> Usage | None:
    """Usage of a chat completion, whose input and output include all details.

    Returns:
        None when nothing usable was reported; an explicit zero is a report.
    """
    if type(reported) is not dict or not _any(reported, "prompt_tokens", "completion_tokens"):
        return None
    figures = _Figures()
    input_details = figures.details(reported, "prompt_tokens_details")
    output_details = figures.details(reported, "completion_tokens_details")
    return figures.usage(
        input_tokens=figures.count(reported, "prompt_tokens"),
        cached=figures.part(input_details, "cached_tokens"),
        written=figures.part(input_details, "cache_write_tokens"),
        written_1h=0,
        output_tokens=figures.count(reported, "completion_tokens"),
        reasoning=figures.part(output_details, "reasoning_tokens"),
    )


def read_anthropic_usage(reported: object) -> Usage | None:
    """Usage of a message, whose cache figures stand beside `input_tokens`, not inside it.

    Returns:
        None when nothing usable was reported; an explicit zero is a report.
    """
    if type(reported) is not dict or not _any(reported, "input_tokens", "output_tokens"):
        return None
    figures = _Figures()
    breakdown = figures.details(reported, "cache_creation")
    output_details = figures.details(reported, "output_tokens_details")
    cached = figures.part(reported, "cache_read_input_tokens")
    written_1h = figures.part(breakdown, "ephemeral_1h_input_tokens")
    if reported.get("cache_creation_input_tokens") is None:
        written = written_1h + figures.part(breakdown, "ephemeral_5m_input_tokens")
    else:
        written = figures.part(reported, "cache_creation_input_tokens")
    return figures.usage(
        input_tokens=figures.count(reported, "input_tokens") + cached + written,
        cached=cached,
        written=written,
        # A stream's last totals win over the breakdown that its start gave.
        written_1h=min(written_1h, written),
        output_tokens=figures.count(reported, "output_tokens"),
        reasoning=figures.part(output_details, "thinking_tokens"),
    )


def usage_in_error(answer: object) -> dict[str, Any] | None:
    """The figures of an error, as its provider sent them: beside the error, or inside it."""
    if type(answer) is not dict:
        return None
    for place in (answer, answer.get("error")):
        usage = place.get("usage") if type(place) is dict else None
        if usage and type(usage) is dict:
            return usage
    return None


def merge_anthropic_usage(earlier: dict[str, Any], later: dict[str, Any]) -> dict[str, Any]:
    """The figures of a stream so far: later ones are cumulative and replace earlier ones."""
    return earlier | {name: figure for name, figure in later.items() if figure is not None}


def _any(reported: dict[str, Any], *names: str) -> bool:
    return any(reported.get(name) is not None for name in names)


class _Figures:
    """Reads counts, and remembers whether one of them was impossible."""

    def __init__(self) -> None:
        self._suspect = False

    def count(self, reported: dict[str, Any], name: str) -> int:
        figure = reported.get(name)
        if type(figure) is int and 0 <= figure <= LARGEST_TOKEN_COUNT:
            return figure
        self._suspect = True
        # NaN is above nothing, and comes out as 0 too.
        if (type(figure) is int or type(figure) is float) and figure > 0:
            return int(min(figure, LARGEST_TOKEN_COUNT))
        return 0

    def part(self, reported: dict[str, Any], name: str) -> int:
        return 0 if reported.get(name) is None else self.count(reported, name)

    def details(self, reported: dict[str, Any], name: str) -> dict[str, Any]:
        details = reported.get(name)
        if type(details) is dict:
            return details
        if details is not None:
            self._suspect = True
        return {}

    def usage(
        self,
        *,
        input_tokens: int,
        cached: int,
        written: int,
        written_1h: int,
        output_tokens: int,
        reasoning: int,
    ) -> Usage:
        input_tokens = self._within(input_tokens, LARGEST_TOKEN_COUNT)
        cached = self._within(cached, input_tokens)
        written = self._within(written, input_tokens - cached)
        return Usage(
            input_tokens=input_tokens,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            cache_write_1h_tokens=min(written_1h, written),
            output_tokens=output_tokens,
            reasoning_tokens=self._within(reasoning, output_tokens),
            suspect=self._suspect,
        )

    def _within(self, figure: int, most: int) -> int:
        if figure > most:
            self._suspect = True
        return min(figure, most)
