"""A way to a server that can go silent: what is sent into it gets nowhere, and nobody is told.

The near end goes on acknowledging, as a frozen server's kernel does and many a load balancer.
"""

import socket
import threading
from contextlib import suppress


class SilentRelay:
    """Listens on a port of its own and passes everything on to another, both ways."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._passing = threading.Event()
        self._passing.set()
        self._pairs: list[_Pair] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def fall_silent(self) -> None:
        self._passing.clear()

    def resume(self) -> None:
        """Everything goes on where it stood, what was sent meanwhile included."""
        self._passing.set()

    def resume_for_new_connections(self) -> None:
        """As after a move to another host: whoever is connected never hears again."""
        for pair in self._pairs:
            pair.dead.set()
        self._passing.set()

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            pair.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                pair = _Pair(near, self._target, self._passing)
                self._pairs.append(pair)
                threading.Thread(target=pair.connect, daemon=True).start()


class _Pair:
    def __init__(self, near: socket.socket, port: int, passing: threading.Event) -> None:
        self.dead = threading.Event()
        self._near, self._port, self._passing = near, port, passing
        self._far: socket.socket | None = None

    def connect(self) -> None:
        self._passing.wait()
        if self.dead.is_set():
            return
        try:
            self._far = socket.create_connection(("127.0.0.1", self._port))
        except OSError:
            self.close()
            return
        threading.Thread(target=self._pass, args=(self._far, self._near), daemon=True).start()
        self._pass(self._near, self._far)

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                self._passing.wait()
                if self.dead.is_set():
                    return
                sink.sendall(piece)
        self.close()

    def close(self) -> None:
        for end in (self._near, self._far):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
