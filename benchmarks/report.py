"""The figures as a table for a terminal."""

from typing import Any

ROWS = {
    "cpu_ms_per_request": "CPU ms per request (serving process)",
    "all_cpu_ms_per_request": "CPU ms per request (all its processes)",
    "cpu_ms_per_stream": "CPU ms per 50-chunk stream (serving process)",
    "all_cpu_ms_per_stream": "CPU ms per 50-chunk stream (all)",
    "requests_per_second": "requests per second, 8 connections",
    "p50_ms": "p50 ms, one call at a time",
    "p99_ms": "p99 ms, one call at a time",
    "added_p50_ms": "added p50 ms",
    "added_p99_ms": "added p99 ms",
    "peak_memory_mib": "peak memory MiB (serving process)",
    "all_peak_memory_mib": "peak memory MiB (all its processes)",
    "failures": "failed calls",
}


def as_text(figures: dict[str, Any]) -> str:
    contenders = figures["contenders"]
    lines = [f"{name}: {about['what']}" for name, about in contenders.items()]
    lines += ["", f"{'':46}" + "".join(f"{name:>12}" for name in contenders)]
    for row, title in ROWS.items():
        cells = [about.get(row) for about in contenders.values()]
        lines.append(f"{title:46}" + "".join(f"{_cell(cell):>12}" for cell in cells))
    lines += ["", "store operations"]
    lines += [f"  {name.replace('_', ' ')}: {value}" for name, value in figures["store"].items()]
    lines += ["", f"medians of {figures['rounds']} interleaved rounds, on"]
    lines += [f"  {name.replace('_', ' ')}: {value}" for name, value in figures["machine"].items()]
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
