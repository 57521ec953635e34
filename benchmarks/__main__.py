"""`make bench`: what the gateway costs, beside a bare reverse proxy and beside no proxy at all.

The product is started as `make run` starts it, one worker, with request, token and usd limits
on the team and on the key. Rounds are interleaved and medians reported, so that a busy machine
troubles all alike. `--json` prints the figures for programs.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.contenders import Contender, bare_proxy, direct, gateway, nginx
from benchmarks.machine import machine_facts
from benchmarks.measuring import measure
from benchmarks.report import as_text
from benchmarks.store_operations import store_operations
from tests.loopback import free_port, is_listening, wait_until


@contextmanager
def _fake_provider() -> Iterator[int]:
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.fake_provider", "--port", str(port)])
    try:
        wait_until(lambda: is_listening(port), "the fake provider")
        yield port
    finally:
        process.terminate()
        process.wait()


def _contenders(stack: ExitStack, upstream: int, directory: Path) -> list[Contender]:
    found = [
        stack.enter_context(gateway(upstream, directory)),
        stack.enter_context(bare_proxy(upstream)),
        direct(upstream),
    ]
    if shutil.which("nginx"):
        found.append(stack.enter_context(nginx(upstream, directory)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1500, help="plain requests a round")
    parser.add_argument("--streams", type=int, default=300, help="streams of 50 chunks a round")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gateway-bench-")))
        upstream = stack.enter_context(_fake_provider())
        figures = asyncio.run(
            measure(
                _contenders(stack, upstream, directory),
                rounds=chosen.rounds,
                requests=chosen.requests,
                streams=chosen.streams,
            )
        )
        figures["store"] = store_operations(upstream, directory)
        figures["machine"] = machine_facts()
    print(json.dumps(figures, indent=2) if chosen.json else as_text(figures))


if __name__ == "__main__":
    main()
