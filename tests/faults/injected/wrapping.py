"""Puts something around a function or a method of a module that was just imported."""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


def around(
    module: ModuleType,
    name: str,
    *,
    before: Callable[..., None] | None = None,
    after: Callable[..., None] | None = None,
) -> None:
    """Have `before` and `after` called with the arguments of `function` or `Class.method`.

    `after` is called only when it returns.
    """
    *path, attribute = name.split(".")
    owner: Any = functools.reduce(getattr, path, module)
    original = getattr(owner, attribute)

    @functools.wraps(original)
    def plain(*args: Any, **kwargs: Any) -> Any:
        if before:
            before(*args, **kwargs)
        result = original(*args, **kwargs)
        if after:
            after(*args, **kwargs)
        return result

    @functools.wraps(original)
    async def awaited(*args: Any, **kwargs: Any) -> Any:
        if before:
            before(*args, **kwargs)
        result = await original(*args, **kwargs)
        if after:
            after(*args, **kwargs)
        return result

    setattr(owner, attribute, awaited if inspect.iscoroutinefunction(original) else plain)
