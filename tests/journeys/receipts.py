"""What the gateway says a call cost, read the way a caller reads it."""

import json
import time
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.running_gateway import RunningGateway

Json = dict[str, Any]


def get(gateway: RunningGateway, path: str, secret: str) -> Json:
    request = Request(  # noqa: S310 - our own loopback address
        f"{gateway.base_url}{path}", headers={"Authorization": f"Bearer {secret}"}
    )
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        parsed: Json = json.loads(answer.read())
    return parsed


def receipt(gateway: RunningGateway, request_id: str, secret: str) -> Json:
    """A receipt, which is to be there within two seconds of the answer.

    Raises:
        HTTPError: it is not.
    """
    deadline = time.monotonic() + 2
    while True:
        try:
            return get(gateway, f"/v1/receipts/{request_id}", secret)
        except HTTPError as error:
            if error.code != 404 or time.monotonic() > deadline:
                raise
        time.sleep(0.05)
