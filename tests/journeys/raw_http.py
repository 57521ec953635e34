"""One request as bytes, where an SDK would refuse to send it."""

import json
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from tests.running_gateway import RunningGateway


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def post(gateway: RunningGateway, path: str, body: bytes, secret: str, **headers: str) -> Answer:
    """POST a body as it is; header names are given with underscores."""
    sent = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.request("POST", path, body, sent)
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, received, answer.read())
    finally:
        connection.close()
