"""A provider on a real loopback socket: both wire formats, scripted faults, and a memory.

It remembers every request, every connection and every token it sent: the oracle against which
billing and cancellation are checked. `python -m tests.fake_provider` runs it as a process.
"""

from tests.fake_provider.behaviour import NAMED, Behaviour
from tests.fake_provider.seen import Seen
from tests.fake_provider.server import FakeProvider

__all__ = ["NAMED", "Behaviour", "FakeProvider", "Seen"]
