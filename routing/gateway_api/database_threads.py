"""Threads of their own for the few gateway addresses that ask the database.

The event loop's default threads look up the providers' hosts: a database that hangs must not
hold them.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from keys.kept_connection import ask_again_if_broken

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")

_threads = ThreadPoolExecutor(4, thread_name_prefix="gateway-questions")


async def ask_database(
    question: Callable[Parameters, Answer], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Answer:
    """Ask in a thread; over a connection that died meanwhile, a second time.

    Raises:
        django.db.DatabaseError, InterfaceError: the database is away.
    """
    asked = partial(ask_again_if_broken, partial(question, *args, **kwargs))
    return await asyncio.get_running_loop().run_in_executor(_threads, asked)
