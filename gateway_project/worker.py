"""One gateway process: `python -m gateway_project.worker --fd N`, started by the supervisor.

It serves the gateway and the pages on the listening socket that it inherits. SIGTERM drains:
it accepts no more connections, and open calls go on for at most DRAIN_SECONDS. What is open
then, or at a SIGINT after that, is told so and ends.
"""

import argparse
import asyncio
import gc
import logging
import os
import socket
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from django.conf import settings

from gateway_project import lifeline
from gateway_project.heartbeat import ALIVE, BEAT_SECONDS, DRAINING, READY, Heart

if TYPE_CHECKING:
    # It needs Django set up, which uvicorn does when it loads the application.
    from gateway_project.runtime import Runtime

# Pooled clients keep idle connections for up to a minute; closing first would race with them.
_KEEP_ALIVE_SECONDS = 75
# What start-up made stays: it is frozen, and later collections come rarely.
_COLLECTION_THRESHOLDS = (50_000, 20, 50)
# While draining, a kept connection may bring one more request, and is closed after so long.
_IDLE_SECONDS = 2.0
_DRAIN_TICK_SECONDS = 0.1
_LAST_WORDS_SECONDS = 3.0


class GatewayServer(uvicorn.Server):
    """uvicorn's, with a drain that resets no request and cuts no stream without a word."""

    def __init__(self, config: uvicorn.Config, heart: Heart, drain_seconds: float) -> None:
        super().__init__(config)
        self._heart = heart
        self._drain_seconds = drain_seconds
        self._idle_since: dict[Any, float] = {}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._beating = asyncio.create_task(self._beat())
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTION_THRESHOLDS)
        self._heart.say(READY)

    async def _beat(self) -> None:
        while True:
            self._heart.say(ALIVE)
            await asyncio.sleep(BEAT_SECONDS)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.started:
            # Nothing is open, and the database may be frozen: as after a kill, the next start
            # recovers what this one had begun.
            os._exit(0)
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._heart.say(DRAINING)
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        runtime: Runtime = self.lifespan.state["runtime"]
        runtime.begin_drain()
        await self._drain(runtime)
        await self._end_what_is_open(runtime)
        await self.lifespan.shutdown()
        logging.shutdown()
        sys.stdout.flush()
        # Nothing is left to do, and a thread that a frozen database holds must not keep us.
        os._exit(0)

    async def _drain(self, runtime: "Runtime") -> None:
        """Until nothing is open or read on, the time is over, or a second signal comes."""
        state, now = self.server_state, asyncio.get_running_loop().time
        deadline = now() + self._drain_seconds
        while now() < deadline and not self.force_exit:
            if not (state.connections or state.tasks or runtime.reads_on):
                return
            await self.on_tick(0)  # The time in the headers moves on.
            state.default_headers = [*state.default_headers, (b"connection", b"close")]
            for connection in list(state.connections):
                self._take_leave(connection, now())
            await asyncio.sleep(_DRAIN_TICK_SECONDS)

    def _take_leave(self, connection: Any, now: float) -> None:
        """Close an idle connection once no request can be on its way; else announce it."""
        cycle = connection.cycle
        if cycle is None or cycle.response_complete:
            if now - self._idle_since.setdefault(connection, now) > _IDLE_SECONDS:
                connection.shutdown()
            return
        self._idle_since.pop(connection, None)
        if not cycle.response_started:
            connection.shutdown()  # Says `Connection: close` in the answer.

    async def _end_what_is_open(self, runtime: "Runtime") -> None:
        """Tell every caller that is left, in its own format, that this is the end."""
        state = self.server_state
        for connection in list(state.connections):
            connection.shutdown()
        open_calls = set(state.tasks)
        for task in open_calls - runtime.end_streams():
            task.cancel()
        if open_calls:
            await asyncio.wait(open_calls, timeout=_LAST_WORDS_SECONDS)


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    # First of all: a malformed variable ends it here, with one line.
    drain_seconds = settings.ENVIRONMENT.drain_seconds
    parser = argparse.ArgumentParser(prog="python -m gateway_project.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    parser.add_argument("--heart", type=int, help="where to say that we live")
    options = parser.parse_args(arguments)
    listening = socket.socket(fileno=options.fd)
    lifeline.watch()
    server = GatewayServer(
        uvicorn.Config(
            "gateway_project.asgi:application",
            loop="uvloop",
            http="httptools",
            ws="none",
            lifespan="on",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        ),
        Heart(options.heart),
        drain_seconds,
    )
    server.run(sockets=[listening])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
