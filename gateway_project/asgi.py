"""The ASGI application: the gateway's addresses by the lean handler, all else by Django's."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway_project.settings")
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402  # after setup

from gateway_project.postgresql.silence import watch_silence  # noqa: E402  # after setup
from gateway_project.runtime import Runtime  # noqa: E402  # after setup
from keys.clock import DatabaseClock  # noqa: E402  # after setup
from routing.gateway_api.handler import GatewayHandler  # noqa: E402 - after setup
from routing.gateway_api.request import Receive, Scope, Send  # noqa: E402 - after setup

# A base URL without its /v1 is the commonest mistake: SDKs are told so in their own words.
MISTYPED = ("/chat/completions", "/messages", "/models")
GATEWAY_PATHS = ("/v1/", "/healthz", "/readyz", *MISTYPED)

_gateway = GatewayHandler()
_pages = ASGIHandler()


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _live(scope, receive, send)
    elif scope["path"].startswith(GATEWAY_PATHS) or scope["path"] == "/v1":
        await _gateway(scope, receive, send)
    else:
        await _pages(scope, receive, send)


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    runtime = Runtime(DatabaseClock())
    await receive()
    try:
        scope["state"]["services"] = await runtime.start()
    except TimeoutError:
        failed = "The database does not answer: starting again."
        await send({"type": "lifespan.startup.failed", "message": failed})
        return
    # For the server, which drains it.
    scope["state"]["runtime"] = runtime
    # Only now: a start waits longer for its database than a page does.
    watch = watch_silence()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await runtime.stop()
    if watch is not None:
        watch.stop()
    await send({"type": "lifespan.shutdown.complete"})
