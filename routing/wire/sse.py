"""Server-sent events as bytes: cut where events end, wherever the network cut them.

Lines may end in LF, CR or CRLF, data may span lines, comments may stand anywhere.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html (2026-11-24).
"""

import re
from collections.abc import Iterator

from routing.errors import UpstreamProtocolError

LARGEST_EVENT_BYTES = 1 << 20

# A CR that is the last byte so far may be half of a CRLF: what follows decides.
_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?=[^\n]))")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_TOO_LARGE = "The provider sent an event larger than 1 MiB"


class FrameCutter:
    """Cuts a byte stream into frames: an event's bytes with the blank line that ends it."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._searched = 0
        self._at_start = True

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Frames that are complete now.

        Raises:
            UpstreamProtocolError: an event is larger than 1 MiB. Frames before it are yielded.
        """
        if not self._rest and not self._at_start and data.endswith(b"\n\n") and b"\r" not in data:
            if data.find(b"\n\n") == len(data) - 2:
                yield _bounded(data)
                return
            for frame in data[:-2].split(b"\n\n"):
                yield _bounded(frame + b"\n\n")
            return
        self._rest += data
        while end := self._end_of_frame():
            frame = bytes(self._rest[:end])
            del self._rest[:end]
            self._searched = 0
            yield _bounded(self._without_mark(frame))
        if len(self._rest) > LARGEST_EVENT_BYTES:
            raise UpstreamProtocolError(_TOO_LARGE)

    def close(self) -> Iterator[bytes]:
        """What a stream left behind that ended without its last blank line, as a frame."""
        rest = self._without_mark(bytes(self._rest)).rstrip(b"\r\n")
        self._rest.clear()
        if rest:
            yield rest + b"\n\n"

    def _end_of_frame(self) -> int:
        match = _BLANK_LINE.search(self._rest, self._searched)
        if match:
            return match.end()
        # The last bytes may be the beginning of a blank line, which is at most CR LF CR LF.
        self._searched = max(len(self._rest) - 3, 0)
        return 0

    def _without_mark(self, frame: bytes) -> bytes:
        if self._at_start:
            self._at_start = False
            return frame.removeprefix(_BYTE_ORDER_MARK)
        return frame


def read_event(frame: bytes) -> tuple[bytes, bytes | None]:
    """Name of a frame's event, b"" when unnamed, and its data, None without a data line."""
    if frame.startswith(b"data: ") and frame.find(b"\n") == len(frame) - 2 and b"\r" not in frame:
        return b"", frame[6:-2]
    name = b""
    data = []
    for line in _LINE_END.split(frame):
        field, _, value = line.partition(b":")
        if field == b"event":
            name = value.removeprefix(b" ")
        elif field == b"data":
            data.append(value.removeprefix(b" "))
    return name, b"\n".join(data) if data else None


def only_comments(frame: bytes) -> bool:
    """Whether a frame is nothing but comments, such as keep-alives."""
    return all(not line or line.startswith(b":") for line in _LINE_END.split(frame))


def write_event(data: bytes, name: bytes = b"") -> bytes:
    """A frame with one line of data."""
    head = b"event: %b\n" % name if name else b""
    return b"%bdata: %b\n\n" % (head, data)


def _bounded(frame: bytes) -> bytes:
    if len(frame) > LARGEST_EVENT_BYTES:
        raise UpstreamProtocolError(_TOO_LARGE)
    return frame
