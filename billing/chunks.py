"""How much a worker takes at once: enough to be left alone for a while, never what others need.

Pure. A chunk beyond the calls at hand covers the use of a minute to come, and shrinks with the
room that is left, until near the ceiling it is exactly one call's need.
"""

# Of the room beyond the calls at hand, a worker takes at most one part in so many.
SHARE_ALONE = 2
SHARE_AMONG_OTHERS = 8


def chunk(room: int, *, need: int, lacking: int, ahead: int, alone: bool) -> int:
    """What to take from a counter with `room` left below its ceiling; 0 when it cannot serve.

    Args:
        need: the least that is of use; not granted in part.
        lacking: what all the calls at hand lack together.
        ahead: for calls to come, to be spared the next asking and to last through an outage.
        alone: no other worker holds any of this counter.
    """
    if room < need or room <= 0:
        return 0
    if room <= lacking:
        return room
    spare = room - lacking
    return lacking + min(ahead, spare // (SHARE_ALONE if alone else SHARE_AMONG_OTHERS))
