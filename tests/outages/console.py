"""An administrator's browser, without the browser."""

import re
from dataclasses import dataclass
from email.message import Message
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

from tests.running_gateway import PASSWORD, RunningGateway


@dataclass(frozen=True, slots=True)
class PageAnswer:
    status: int
    headers: dict[str, str]
    text: str


class _Stay(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Console:
    def __init__(self, gateway: RunningGateway) -> None:
        self._url = gateway.base_url
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()), _Stay)

    def get(self, path: str) -> PageAnswer:
        return self._open(Request(self._url + path))  # noqa: S310 - our own loopback address

    def sign_in(self, password: str = PASSWORD) -> PageAnswer:
        """See the form, and send it; 302 when it was right."""
        form = self.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.text)
        if token is None:
            return form
        fields = {
            "csrfmiddlewaretoken": token.group(1),
            "username": "admin",
            "password": password,
            "next": "/",
        }
        return self._open(
            Request(  # noqa: S310 - our own loopback address
                f"{self._url}/admin/login/", urlencode(fields).encode(), {"Origin": self._url}
            )
        )

    def _open(self, request: Request) -> PageAnswer:
        try:
            with self._opener.open(request, timeout=20) as answer:
                return PageAnswer(answer.status, _lowered(answer.headers), answer.read().decode())
        except HTTPError as error:
            return PageAnswer(error.code, _lowered(error.headers), error.read().decode())


def _lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
