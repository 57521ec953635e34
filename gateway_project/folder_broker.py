"""Celery's broker where there is no Redis: a folder with one file for each message.

A message appears whole or not at all, and is taken by the one process that can remove it. What
is no message, such as the torn file of a machine that lost its power, is dropped with a log line.
What is bound where is known to each process by itself: all of them declare the one queue there
is. So there is no fanout, and no remote control of workers.
"""

import time
from pathlib import Path
from queue import Empty
from typing import Any
from uuid import uuid4

import structlog
from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.json import dumps, loads

log = structlog.get_logger(__name__)


class Channel(virtual.Channel):
    """The files of a queue, oldest first: `NANOSECONDS-RANDOM.QUEUE.message`."""

    @property
    def _folder(self) -> Path:
        return Path(self.connection.client.transport_options["folder"])

    def _files(self, queue: str) -> list[Path]:
        # A name that begins with a dot is of a message that is still being written.
        ending = f"{queue}.message"
        files = self._folder.glob("*.message")
        return sorted(file for file in files if file.name.partition(".")[2] == ending)

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        name = f"{time.time_ns():020}-{uuid4().hex}.{queue}.message"
        unfinished = self._folder / f".{name}"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished.write_text(dumps(message))
            unfinished.rename(self._folder / name)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise ChannelError(f"a message cannot be written to {self._folder}: {error}") from error

    def _get(self, queue: str, timeout: float | None = None) -> dict[str, Any]:
        for file in self._files(queue):
            try:
                content = file.read_bytes()
                # Whoever removes it has it: one process only, whoever else has read it.
                file.unlink()
            except OSError:
                continue
            message = self._read(content)
            if message is not None:
                return message
            log.warning("unreadable_message_dropped", file=file.name, bytes=len(content))
        raise Empty

    def _read(self, content: bytes) -> dict[str, Any] | None:
        try:
            message: dict[str, Any] = loads(content.decode())
            virtual.Message(message, channel=self)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        return message

    def _size(self, queue: str) -> int:
        return len(self._files(queue))

    def _purge(self, queue: str) -> int:
        files = self._files(queue)
        for file in files:
            file.unlink(missing_ok=True)
        return len(files)


class Transport(virtual.Transport):
    """Named in the settings as `broker_transport`."""

    Channel = Channel
    driver_type = driver_name = "folder"
    # A connection that is made anew knows what was declared over the last one.
    _declared = virtual.BrokerState()

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)  # type: ignore[no-untyped-call]  # kombu has few types
        self.state = self._declared

    def driver_version(self) -> str:
        return ""
