"""Where alerts arrive in tests: a small SMTP server and a webhook receiver, on real sockets."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class MailBox:
    """What a mail server took.

    Attributes:
        refuse: answer to DATA in place of taking it, such as `451 later`.
        refused: addresses that are refused, with the answer, such as `550 unknown`.
        hang_up: close the connection at this command, such as `MAIL`.
    """

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    refuse: str = ""
    refused: dict[str, str] = field(default_factory=dict)
    hang_up: str = ""


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Hook:
    """What a webhook received.

    Attributes:
        status: what it answers; `location` goes with a redirect.
    """

    port: int = 0
    posts: list[Post] = field(default_factory=list)
    status: int = 204
    location: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?team=a"


class _Threading(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@contextmanager
def mail_server(port: int = 0) -> Iterator[MailBox]:
    """Speaks enough SMTP (RFC 5321) for smtplib."""
    box = MailBox()

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 tests ready")
            to: list[str] = []
            for line in self.rfile:
                command = line.decode().strip()
                verb = command[:4].upper()
                if verb == box.hang_up:
                    return
                if verb == "DATA":
                    self._take(to)
                elif verb == "QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say(self._answer(verb, command, to))

        def _answer(self, verb: str, command: str, to: list[str]) -> str:
            if verb in ("MAIL", "RSET"):
                to.clear()
            if verb != "RCPT":
                return "250 ok"
            address = command[len("RCPT TO:<") :].rstrip(">")
            if address in box.refused:
                return box.refused[address]
            to.append(address)
            return "250 ok"

        def _take(self, to: list[str]) -> None:
            self._say("354 go on")
            data = b""
            while not data.endswith(b"\r\n.\r\n"):
                data += self.rfile.readline()
            if box.refuse:
                self._say(box.refuse)
                return
            text = data.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
            box.mails.append(message_from_bytes(text, policy=policy.default))
            box.recipients.append(list(to))
            self._say("250 taken")

        def _say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with _serving(_Threading(("127.0.0.1", port), Session)) as box.port:
        yield box


@contextmanager
def webhook() -> Iterator[Hook]:
    hook = Hook()

    class Receiver(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            # Whatever the method: a redirect that is followed would be seen too.
            self.raw_requestline = self.rfile.readline()
            if self.raw_requestline and self.parse_request():
                self._answer()

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"] or 0))
            headers = {name.lower(): text for name, text in self.headers.items()}
            hook.posts.append(Post(self.path, headers, body))
            self.send_response(hook.status)
            if hook.location:
                self.send_header("location", hook.location)
            self.send_header("content-length", "0")
            self.end_headers()
            self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the tests' output."""

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Receiver)) as hook.port:
        yield hook


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
