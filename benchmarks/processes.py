"""CPU time and memory of a program's processes, as Linux counts them."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.process_family import family, stat_fields

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cpu:
    """CPU seconds of the process that serves, and of all the others of the same program."""

    serving: float
    others: float

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.serving - earlier.serving, self.others - earlier.others)


@dataclass(frozen=True, slots=True)
class Program:
    """A running program: its first process, and the one of its family that serves."""

    first: int
    serving: int

    def cpu(self) -> Cpu:
        seconds = {pid: _cpu_seconds(pid) for pid in family(self.first)}
        serving = seconds.pop(self.serving, 0.0)
        return Cpu(serving, sum(seconds.values()))

    def peak_mib(self) -> tuple[float, float]:
        """Peak resident memory: of the serving process, and of all together."""
        peaks = {pid: _peak_mib(pid) for pid in family(self.first)}
        return peaks.get(self.serving, 0.0), sum(peaks.values())


def _cpu_seconds(pid: int) -> float:
    fields = stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND if fields else 0.0


def _peak_mib(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0
