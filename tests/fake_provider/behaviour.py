"""What the fake provider may do with a request: answer it, or fail in one of many ways."""

from dataclasses import dataclass

TEXT = "The fake provider says hello to you, one word at a time."


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to meet a request. Combine freely; what is not said is as a provider should.

    Attributes:
        status, headers, body: of the answer. A status other than 200 without a body gets the
            format's own error body; a body is sent as it is.
        error_type, error_code, message: in the format's own error body.
        before_headers: `reset` the connection, `stall` for ever, `close` it cleanly, or "".
        delay_seconds: before the head. word_seconds: before each frame of a stream.
        words: what to say, so many words; None says `text`.
        input_tokens: None counts a quarter of the body's bytes. cached, written: of them.
        usage: normal, absent, zero, negative, huge, text, or every_chunk.
        stall_after, cut_after, end_after, error_after: after so many frames of a stream go
            silent, reset, end cleanly without a finish, or send the format's error event.
        half_frame: with cut_after and end_after: half of the next frame goes out first.
        malformed_after: after so many frames send one that is not JSON.
        done: end with `data: [DONE]` where the format has it.
        split: bytes per write; 0 writes whole frames.
        crlf, comments, bom: dress the stream so.
        endless: never stop talking.
        tool_calls: with tools given, call so many of them at once.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    error_type: str = "fake_error"
    error_code: str | None = None
    message: str = "the fake provider refuses"
    before_headers: str = ""
    delay_seconds: float = 0
    word_seconds: float = 0
    text: str = TEXT
    words: int | None = None
    input_tokens: int | None = None
    cached: int = 0
    written: int = 0
    written_1h: int = 0
    reasoning: int = 0
    usage: str = "normal"
    stall_after: int | None = None
    cut_after: int | None = None
    end_after: int | None = None
    error_after: int | None = None
    malformed_after: int | None = None
    half_frame: bool = False
    done: bool = True
    split: int = 0
    crlf: bool = False
    comments: bool = False
    bom: bool = False
    endless: bool = False
    tool_calls: int = 1


def _status(status: int, *headers: tuple[str, str], error_type: str = "fake_error") -> Behaviour:
    return Behaviour(status=status, headers=headers, error_type=error_type)


# What a model name of the fake provider asks for; any other name answers as it should.
NAMED: dict[str, Behaviour] = {
    "status-400": Behaviour(
        status=400, error_type="invalid_request_error", message="the fake finds it invalid"
    ),
    "status-401": _status(401, error_type="authentication_error"),
    "status-402": _status(402, error_type="billing_error"),
    "status-403": _status(403, error_type="permission_error"),
    "status-404": _status(404, error_type="not_found_error"),
    "status-413": _status(413, error_type="request_too_large"),
    "status-422": _status(422, error_type="invalid_request_error"),
    "status-429": _status(429, ("retry-after", "7"), error_type="rate_limit_error"),
    "status-429-ms": _status(
        429, ("retry-after-ms", "1500"), ("retry-after", "2"), error_type="rate_limit_error"
    ),
    "status-429-date": _status(429, ("retry-after", "Fri, 31 Dec 2100 23:59:59 GMT")),
    "status-429-bare": _status(429, error_type="rate_limit_error"),
    "status-429-quota": Behaviour(
        status=429, error_type="insufficient_quota", error_code="insufficient_quota"
    ),
    "status-500": _status(500, error_type="api_error"),
    "status-503": _status(503, ("retry-after", "3"), error_type="api_error"),
    "status-529": _status(529, error_type="overloaded_error"),
    "reset": Behaviour(before_headers="reset"),
    "close": Behaviour(before_headers="close"),
    "stall": Behaviour(before_headers="stall"),
    "html": Behaviour(headers=(("content-type", "text/html"),), body=b"<html>hello</html>"),
    "not-json": Behaviour(body=b'{"id": "x", "choices": ['),
    "empty": Behaviour(body=b""),
    "status-204": Behaviour(status=204, body=b""),
    "stall-mid-stream": Behaviour(stall_after=4),
    "cut-mid-stream": Behaviour(cut_after=4),
    "half-frame": Behaviour(cut_after=4, half_frame=True),
    "no-finish": Behaviour(end_after=4),
    "half-frame-end": Behaviour(end_after=4, half_frame=True),
    "error-mid-stream": Behaviour(error_after=4),
    "error-first": Behaviour(error_after=0),
    "malformed-frame": Behaviour(malformed_after=4),
    "no-done": Behaviour(done=False),
    "no-usage": Behaviour(usage="absent"),
    "zero-usage": Behaviour(usage="zero"),
    "negative-usage": Behaviour(usage="negative"),
    "huge-usage": Behaviour(usage="huge"),
    "text-usage": Behaviour(usage="text"),
    "usage-in-every-chunk": Behaviour(usage="every_chunk"),
    "odd-bytes": Behaviour(split=3, text="Grüße, 世界 🌍 und alle anderen"),
    "crlf": Behaviour(crlf=True),
    "comments": Behaviour(comments=True),
    "slow": Behaviour(word_seconds=0.2),
    "endless": Behaviour(endless=True, word_seconds=0.01),
    "cached": Behaviour(input_tokens=1000, cached=600),
    "cache-written": Behaviour(input_tokens=1000, cached=100, written=300, written_1h=200),
    "reasoning": Behaviour(reasoning=5),
    "two-tools": Behaviour(tool_calls=2),
}
