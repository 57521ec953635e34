"""A small steady load on a gateway, and what became of every call."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address
from zlib import crc32

from tests.running_gateway import RunningGateway

NO_ANSWER = 0
CALL_SECONDS = 15


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its answer.

    Attributes:
        name: sent as X-User-ID and as the message; the ledger and the provider know it by this.
        at: monotonic time of its start.
        status: NO_ANSWER when the connection failed or nothing came in time.
        code: of the error, in our vocabulary; "" for an answer.
    """

    name: str
    at: float
    seconds: float
    status: int
    code: str = ""
    retry_after: str = ""


class Caller:
    """One client with a connection that it keeps."""

    def __init__(self, gateway: RunningGateway, secret: str, model: str) -> None:
        self._port = gateway.port
        self._secret = secret
        self._model = model
        self._connection = HTTPConnection("127.0.0.1", self._port, timeout=CALL_SECONDS)

    def call(self, name: str) -> Call:
        started = time.monotonic()
        status, code, retry_after = self._send(name)
        return Call(name, started, time.monotonic() - started, status, code, retry_after)

    def _send(self, name: str) -> tuple[int, str, str]:
        body = {
            "model": self._model,
            "max_tokens": 50,
            "messages": [{"role": "user", "content": name}],
        }
        try:
            self._connection.request(
                "POST", "/v1/chat/completions", json.dumps(body), self._headers(name)
            )
            answer = self._connection.getresponse()
            received = answer.read()
        except (OSError, HTTPException):
            self.close()
            return NO_ANSWER, "", ""
        code = "" if answer.status == 200 else str(json.loads(received)["error"]["code"])
        return answer.status, code, answer.headers.get("Retry-After", "")

    def _headers(self, name: str) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._secret}",
            "Content-Type": "application/json",
            "X-User-ID": name,
        }

    def close(self) -> None:
        self._connection.close()


class Stranger(Caller):
    """One who comes from another address each time, if the gateway trusts what it is told."""

    def _headers(self, name: str) -> dict[str, str]:
        return super()._headers(name) | {"X-Forwarded-For": str(_address_of(name))}


def _address_of(name: str) -> IPv4Address:
    return IPv4Address("198.18.0.0") + crc32(name.encode()) % 2**17


class SteadyLoad:
    """Callers that each call so many times a second until told to stop.

    Args:
        name: what the names of its calls begin with.
    """

    def __init__(
        self,
        gateway: RunningGateway,
        secret: str,
        model: str,
        *,
        name: str,
        callers: int = 4,
        per_second: float = 10,
        caller: type[Caller] = Caller,
    ) -> None:
        self.calls: list[Call] = []
        self._over = threading.Event()
        self._pause = 1 / per_second
        self._threads = [
            threading.Thread(
                target=self._keep_calling,
                args=(caller(gateway, secret, model), f"{name}-{number}"),
                daemon=True,
            )
            for number in range(callers)
        ]

    def _keep_calling(self, caller: Caller, name: str) -> None:
        due = time.monotonic()
        number = 0
        while not self._over.is_set():
            number += 1
            self.calls.append(caller.call(f"{name}-{number}"))
            due = max(due + self._pause, time.monotonic() - 1)
            self._over.wait(max(0.0, due - time.monotonic()))
        caller.close()

    @contextmanager
    def going_on(self) -> Iterator["SteadyLoad"]:
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(CALL_SECONDS + 5)

    def between(self, start: float, end: float) -> list[Call]:
        """The calls that started in between."""
        return [call for call in list(self.calls) if start <= call.at < end]


def told(calls: list[Call]) -> dict[tuple[int, str], int]:
    """How many calls got which answer."""
    counts: dict[tuple[int, str], int] = {}
    for call in calls:
        counts[call.status, call.code] = counts.get((call.status, call.code), 0) + 1
    return counts
