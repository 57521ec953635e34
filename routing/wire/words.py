"""What a wire format must be able to say for translation: one `Words` per format."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from billing.usage import Usage
from routing.chat import ChatAnswer, ChatRequest, StreamEvent
from routing.wire.call import CallRequest


class StreamReader(Protocol):
    """Reads a provider's events.

    Attributes:
        finished: the answer is whole, even if nothing more comes.
        complete: the provider said its last word.
    """

    @property
    def finished(self) -> bool: ...
    @property
    def complete(self) -> bool: ...

    def read(self, name: bytes, data: bytes) -> Iterable[StreamEvent]:
        """What an event says. Raises UpstreamProtocolError, or the error that it carries."""


class StreamWriter(Protocol):
    """Writes a client's frames."""

    def write(self, event: StreamEvent) -> bytes: ...

    def finish(self, usage: Usage) -> bytes:
        """The frames that end a stream, with its final or estimated figures."""


@dataclass(frozen=True, slots=True)
class Words:
    """One wire format, read and written."""

    read_request: Callable[[CallRequest], ChatRequest]
    write_request: Callable[[ChatRequest, str], bytes]
    read_answer: Callable[[bytes], ChatAnswer]
    write_answer: Callable[[ChatAnswer, Usage, int], bytes]
    stream_reader: Callable[[], StreamReader]
    stream_writer: Callable[[CallRequest, int], StreamWriter]
