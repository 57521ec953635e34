"""The rounds, and what is read off them."""

from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from benchmarks.contenders import Contender
from benchmarks.load import Call, drive
from benchmarks.processes import Cpu

CONNECTIONS = 8
STREAM_CONNECTIONS = 16


@dataclass(slots=True)
class Figures:
    """One list per figure, one value per round."""

    requests_per_second: list[float] = field(default_factory=list)
    cpu_ms_per_request: list[float] = field(default_factory=list)
    all_cpu_ms_per_request: list[float] = field(default_factory=list)
    cpu_ms_per_stream: list[float] = field(default_factory=list)
    all_cpu_ms_per_stream: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    failures: int = 0

    def medians(self) -> dict[str, Any]:
        lists = {name: getattr(self, name) for name in self.__slots__ if name != "failures"}
        summed: dict[str, Any] = {
            name: round(median(values), 4) for name, values in lists.items() if values
        }
        return summed | {"failures": self.failures}


async def measure(
    contenders: list[Contender], *, rounds: int, requests: int, streams: int
) -> dict[str, Any]:
    """Drive every contender in turn, round after round; medians of the rounds, by name."""
    for contender in contenders:
        await _warm_up(contender)
    figures = {contender.name: Figures() for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            await _plain(contender, figures[contender.name], requests)
            await _streams(contender, figures[contender.name], streams)
        for contender in contenders:
            await _latency(contender, figures[contender.name], requests // 3)
    return {
        "rounds": rounds,
        "requests_a_round": requests,
        "streams_a_round": streams,
        "contenders": {contender.name: _summary(contender, figures) for contender in contenders},
    }


async def _warm_up(contender: Contender) -> None:
    """Connections, caches and allowances that have just grown are not the point."""
    for call, calls in ((contender.plain(), 300), (contender.stream(), 32)):
        outcome = await drive(contender.port, call, calls=calls, connections=CONNECTIONS)
        if outcome.failures:
            raise SystemExit(f"{contender.name}: {outcome.failures} of {calls} calls failed")


async def _plain(contender: Contender, figures: Figures, calls: int) -> None:
    cpu, rate = await _loaded(contender, figures, contender.plain(), calls, CONNECTIONS)
    figures.requests_per_second.append(rate)
    if contender.program:
        figures.cpu_ms_per_request.append(cpu.serving * 1000 / calls)
        figures.all_cpu_ms_per_request.append((cpu.serving + cpu.others) * 1000 / calls)


async def _streams(contender: Contender, figures: Figures, calls: int) -> None:
    cpu, _ = await _loaded(contender, figures, contender.stream(), calls, STREAM_CONNECTIONS)
    if contender.program:
        figures.cpu_ms_per_stream.append(cpu.serving * 1000 / calls)
        figures.all_cpu_ms_per_stream.append((cpu.serving + cpu.others) * 1000 / calls)


async def _loaded(
    contender: Contender, figures: Figures, call: Call, calls: int, connections: int
) -> tuple[Cpu, float]:
    before = contender.program.cpu() if contender.program else Cpu(0, 0)
    outcome = await drive(contender.port, call, calls=calls, connections=connections)
    after = contender.program.cpu() if contender.program else Cpu(0, 0)
    figures.failures += outcome.failures
    return after - before, calls / outcome.seconds


async def _latency(contender: Contender, figures: Figures, calls: int) -> None:
    """One call at a time: what the way through adds when nobody waits in a queue."""
    outcome = await drive(contender.port, contender.plain(), calls=calls, connections=1)
    figures.failures += outcome.failures
    hundredths = quantiles(outcome.latencies, n=100)
    figures.p50_ms.append(hundredths[49] * 1000)
    figures.p99_ms.append(hundredths[98] * 1000)


def _summary(contender: Contender, figures: dict[str, Figures]) -> dict[str, Any]:
    own, nothing = figures[contender.name].medians(), figures["direct"].medians()
    summary = {"what": contender.what, **own}
    if contender.program:
        serving, together = contender.program.peak_mib()
        summary["added_p50_ms"] = round(own["p50_ms"] - nothing["p50_ms"], 4)
        summary["added_p99_ms"] = round(own["p99_ms"] - nothing["p99_ms"], 4)
        summary["peak_memory_mib"] = round(serving, 1)
        summary["all_peak_memory_mib"] = round(together, 1)
    return summary
