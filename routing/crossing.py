"""In which words a target is asked: the caller's own where it speaks them, so the bytes pass."""

from routing.catalogue import Target
from routing.wire.bridges import Bridge, bridge
from routing.wire.call import CallRequest


def crossing_to(target: Target, call: CallRequest) -> tuple[str, Bridge]:
    """The wire format to ask a target in, and the bridge to it and back."""
    formats = target.provider.formats
    upstream_format = call.format if call.format in formats else min(formats)
    return upstream_format, bridge(call.format, upstream_format)
