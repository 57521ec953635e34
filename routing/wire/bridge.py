"""The shape of what stands between a client's wire format and a provider's."""

from dataclasses import dataclass
from typing import Any, Protocol

from billing.usage import Usage
from routing.wire.call import CallRequest
from routing.wire.output_estimate import text_of, tokens_of


@dataclass(frozen=True, slots=True)
class BridgedAnswer:
    """A whole answer.

    Attributes:
        body: in the client's format.
        usage: as the provider reported it; None when it did not.
        said: all words of the provider, to guess from where its usage cannot be believed.
    """

    body: bytes
    usage: Usage | None
    said: Any

    @property
    def output_tokens_seen(self) -> int:
        return tokens_of(text_of(self.said))


class StreamPipe(Protocol):
    """One stream on its way from a provider to a client.

    Attributes:
        started: something that shows content has gone out.
        finished: the answer is complete, even if the provider says nothing more. Figures may
            still follow: read on until the provider closes.
        complete: the provider said its last word (`[DONE]`, message_stop); no figure follows.
        failure: an error that came behind good bytes. They are returned first; the next call
            of `feed` or `end` raises it.
        usage: the final figures; None until finished, or when the provider gives none.
        usage_so_far: for a stream that breaks: the provider's latest figures, their output
            raised to what was seen. None when the provider reported nothing yet.
        output_tokens_seen: estimate from the content that passed, reasoning and tool
            arguments included.
    """

    @property
    def started(self) -> bool: ...
    @property
    def finished(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    @property
    def failure(self) -> Exception | None: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def usage_so_far(self) -> Usage | None: ...
    @property
    def output_tokens_seen(self) -> int: ...

    def feed(self, data: bytes) -> bytes:
        """Take the provider's next bytes, cut anywhere; return whole frames for the client.

        Raises:
            UpstreamProtocolError: not what the format promises. HTTP 502.
            UpstreamError: an error that the provider reported in the stream.
        """

    def end(self) -> bytes:
        """The provider closed; return the last bytes for the client.

        Raises:
            StreamBrokenError: the answer never finished.
        """


class Bridge(Protocol):
    """From one client format to one provider format, and back."""

    def request(self, call: CallRequest, *, model: str, max_output_tokens: int | None) -> bytes:
        """The body for the provider.

        Args:
            model: the provider's name of the model.
            max_output_tokens: per choice; given when the gateway sets the limit.

        Raises:
            InvalidRequestError: the provider's format cannot say what the caller asks. HTTP 400.
        """

    def answer(self, raw: bytes, call: CallRequest, *, created: int = 0) -> BridgedAnswer:
        """Turn a whole 2xx answer into the client's.

        Args:
            created: Unix seconds now, for a format that wants a time from a provider that
                gives none.

        Raises:
            UpstreamProtocolError: not an answer in the provider's format. HTTP 502.
        """

    def stream(self, call: CallRequest, *, created: int = 0) -> StreamPipe:
        """A pipe for one streamed answer; `created` as above."""
