"""What the views need of the process that serves them; composed by `gateway_project/runtime.py`."""

from collections.abc import Callable
from dataclasses import dataclass

from billing.entries import Refusal
from keys.authentication import KeyRing
from routing.pipeline import Pipeline


@dataclass(frozen=True, slots=True)
class Services:
    """Reaches a view as `request.scope["state"]["services"]`.

    Attributes:
        note_refusal: shows a turned-away call on the log page; never blocks, may drop.
        why_not_ready: None when requests can be served, else the reason.
    """

    keyring: KeyRing
    pipeline: Pipeline
    note_refusal: Callable[[Refusal], None]
    why_not_ready: Callable[[], str | None]
