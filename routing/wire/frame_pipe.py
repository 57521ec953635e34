"""What every stream pipe does alike: cutting frames, and errors that keep their place."""

from abc import ABC, abstractmethod
from dataclasses import replace

from billing.usage import Usage
from routing.errors import StreamBrokenError, UpstreamError, UpstreamProtocolError
from routing.wire.output_estimate import OutputMeter
from routing.wire.sse import FrameCutter


class FramePipe(ABC):
    """A `StreamPipe`; what becomes of a frame is the subclass's."""

    def __init__(self) -> None:
        self.started = False
        self.finished = False
        self.complete = False
        self.failure: UpstreamError | None = None
        self._reported: Usage | None = None
        self._meter = OutputMeter()
        self._cutter = FrameCutter()

    @property
    def usage(self) -> Usage | None:
        return self._reported if self.finished else None

    @property
    def usage_so_far(self) -> Usage | None:
        reported = self._reported
        if reported is None or reported.output_tokens >= self.output_tokens_seen:
            return reported
        return replace(reported, output_tokens=self.output_tokens_seen)

    @property
    def output_tokens_seen(self) -> int:
        return self._meter.tokens

    def feed(self, data: bytes) -> bytes:
        if self.failure:
            raise self.failure
        sent: list[bytes] = []
        try:
            for frame in self._cutter.feed(data):
                sent.append(self._frame(frame))  # noqa: PERF401 - what came before an error stays
        except UpstreamError as error:
            self._keep(error, sent)
        return b"".join(sent)

    def end(self) -> bytes:
        if self.failure:
            raise self.failure
        sent = []
        for frame in self._cutter.close():
            try:
                sent.append(self._frame(frame))
            except UpstreamProtocolError:
                break  # cut in the middle: whether the answer was complete is decided below
        if not self.finished:
            raise StreamBrokenError("The provider's stream ended before the answer was finished")
        sent.append(self._last())
        return b"".join(sent)

    def _keep(self, error: UpstreamError, sent: list[bytes]) -> None:
        self.failure = error
        if not any(sent):
            raise error

    @abstractmethod
    def _frame(self, frame: bytes) -> bytes:
        """The client's bytes for one frame of the provider."""

    @abstractmethod
    def _last(self) -> bytes:
        """What the client is still owed once the provider has closed."""
