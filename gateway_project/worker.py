"""One gateway process: `python -m gateway_project.worker --fd N`, started by the supervisor.

It serves the gateway and the pages on the listening socket that it inherits. SIGTERM drains:
open calls go on for at most DRAIN_SECONDS. A SIGINT after that ends at once.
"""

import argparse
import gc
import os
import signal
import socket
import sys

import uvicorn
from django.conf import settings

from gateway_project import lifeline

# Pooled clients keep idle connections for up to a minute; closing first would race with them.
_KEEP_ALIVE_SECONDS = 75
# What start-up made stays: it is frozen, and later collections come rarely.
_COLLECTION_THRESHOLDS = (50_000, 20, 50)


class GatewayServer(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECTION_THRESHOLDS)


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
    # First of all: a malformed variable ends it here, with one line.
    drain_seconds = settings.ENVIRONMENT.drain_seconds
    parser = argparse.ArgumentParser(prog="python -m gateway_project.worker", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the listening socket")
    listening = socket.socket(fileno=parser.parse_args(arguments).fd)
    lifeline.watch()
    # uvicorn raises the signal that ended it once more when it has drained; exit 0 then.
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: None)
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
            timeout_graceful_shutdown=drain_seconds,
        )
    )
    server.run(sockets=[listening])
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
