"""Request ids: a UUIDv7, so that they sort by time and never meet.

Source: RFC 9562 section 5.7, https://www.rfc-editor.org/rfc/rfc9562 (checked 2026-11-24).
"""

import os
from datetime import datetime

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_A = ((1 << 12) - 1) << 64
_RANDOM_B = (1 << 62) - 1


def new_request_id(now: datetime) -> str:
    """`req_` and 32 hexadecimal digits."""
    milliseconds = int(now.timestamp() * 1000)
    noise = int.from_bytes(os.urandom(10), "big")
    number = milliseconds << 80 | _VERSION_7 | noise & _RANDOM_A | _VARIANT | noise & _RANDOM_B
    return f"req_{number:032x}"
