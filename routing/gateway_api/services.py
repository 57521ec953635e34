"""What the views need of the process that serves them; composed by `gateway_project/runtime.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from billing.entries import Refusal
from keys.authentication import KeyRing
from routing.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a load balancer should send requests here.

    Attributes:
        reason: why it should not; None when it should.
        database_away: known keys are still served within what this process holds.
    """

    reason: str | None
    database_away: bool


@dataclass(frozen=True, slots=True)
class Services:
    """Reaches a view as `request.scope["state"]["services"]`.

    Attributes:
        note_refusal: shows a turned-away call on the log page; never blocks, may drop.
        now: the database's time, aware, UTC.
    """

    keyring: KeyRing
    pipeline: Pipeline
    note_refusal: Callable[[Refusal], None]
    readiness: Callable[[], Readiness]
    now: Callable[[], datetime]
