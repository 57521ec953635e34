"""One thread, and so one database connection, that nobody waits for longer than agreed.

A database that is frozen, not gone, answers nothing and breaks nothing: a call to it returns
when it pleases. The thread is left alone then, and whoever asks meanwhile is told at once.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class BoundedThread:
    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._overdue: Future[Any] | None = None

    async def run(self, function: Callable[[], Result], seconds: float) -> Result:
        """Run a function in the thread, after those that were there before.

        Raises:
            TimeoutError: it took longer; or, at once, an earlier one that did is not back yet.
        """
        if self._overdue is not None and not self._overdue.done():
            raise TimeoutError
        future = self._executor.submit(function)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            if future.running():
                self._overdue = future
            raise

    def close(self, last: Callable[[], object]) -> None:
        """End the thread after one more function, without waiting for either."""
        self._executor.submit(last)
        self._executor.shutdown(wait=False)
