"""No child outlives its supervisor, even one that was killed without a chance to say so.

Every child inherits the reading end of a pipe whose writing end only the supervisor holds. Its
end of file means that the supervisor is gone, whatever the reason, on every Unix.
"""

import os
import signal
import threading
import time

VARIABLE = "GATEWAY_LIFELINE"
# There is nobody left to tell: what is under way may finish, but not for long. What is cut off
# is recovered from the journal by the next start.
_SECONDS_TO_FINISH = 10
_LOOK_SECONDS = 1


def watch() -> None:
    """End this process, and its process group, after its supervisor. Without one: do nothing."""
    descriptor = os.environ.get(VARIABLE)
    if descriptor:
        threading.Thread(target=_end_after, args=(int(descriptor),), daemon=True).start()


def watch_parent() -> None:
    """End this process after its parent: for a child that closes what it inherits."""
    threading.Thread(target=_end_after_parent, args=(os.getppid(),), daemon=True).start()


def _end_after(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_SECONDS_TO_FINISH)
    os.killpg(0, signal.SIGKILL)


def _end_after_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
