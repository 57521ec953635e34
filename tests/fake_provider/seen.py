"""What the fake provider remembers of a request."""

import json
import time
from dataclasses import dataclass, field
from typing import Any

from tests.fake_provider.behaviour import Behaviour
from tests.fake_provider.http_connection import HttpConnection, Request


@dataclass(slots=True)
class Seen:
    """A request that arrived, and what became of it.

    Attributes:
        input_tokens, output_tokens: true counts: what the request holds, and what was sent.
        finished: the whole answer, as the behaviour has it, was handed to the socket.
        left_at: monotonic time when the other side closed before that; None if it stayed.
    """

    request: Request
    connection: HttpConnection
    behaviour: Behaviour
    at: float = field(default_factory=time.monotonic)
    input_tokens: int = 0
    output_tokens: int = 0
    finished: bool = False
    left_at: float | None = None

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.request.body)
        return parsed
