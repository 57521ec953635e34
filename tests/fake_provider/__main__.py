"""`python -m tests.fake_provider --port N`: the fake provider as a process, for measurements."""

import argparse
import asyncio

import uvloop

from tests.fake_provider.behaviour import Behaviour
from tests.fake_provider.server import FakeProvider


async def _serve_for_ever(port: int) -> None:
    provider = FakeProvider(remember=False)
    provider.port = port
    # Fifty frames, as OpenAI's format counts them: role, 46 words, finish, usage, [DONE].
    provider.script("fifty-chunks", Behaviour(words=46, word_seconds=0.002))
    await provider.listen_here()
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve_for_ever(parser.parse_args().port))


if __name__ == "__main__":
    main()
