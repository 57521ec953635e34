"""What a journal says, read back whole."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from billing.entries import Entry, Unfinished
from billing.journal_lines import follow, read_lines


@dataclass(slots=True)
class JournalContents:
    """Attributes:
    entries: of the requests that ended.
    unfinished: those that did not.
    damaged_lines: lines that were there and could not be believed.
    """

    entries: list[Entry] = field(default_factory=list)
    unfinished: list[Unfinished] = field(default_factory=list)
    damaged_lines: int = 0


def read_journal(paths: Iterable[Path]) -> JournalContents:
    """What one worker's segments say, given in the order in which they were written."""
    contents = JournalContents()
    running: dict[str, Unfinished] = {}
    for path in paths:
        for record in read_lines(path.read_bytes()):
            if record is None:
                contents.damaged_lines += 1
            else:
                contents.entries += follow(record, running)
    contents.unfinished = list(running.values())
    return contents
