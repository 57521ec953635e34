"""Checks a value against the TypedDicts of the official SDKs, unknown keys included.

Pydantic reads an Iterable lazily and cannot do it in recursive types.
"""

from collections.abc import Iterable, Sequence
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Required,
    Union,
    get_args,
    get_origin,
)

from typing_extensions import get_type_hints, is_typeddict


def misfit(value: Any, hint: Any, path: str = "") -> str:
    """Where a value leaves its type; "" when it fits."""
    origin: Any = get_origin(hint)
    arguments = get_args(hint)
    if is_typeddict(hint):
        return _misfit_in_object(value, hint, path)
    if origin in (Required, Annotated):
        return misfit(value, arguments[0], path)
    if origin in (Union, UnionType):
        return _misfit_of_all(value, arguments, path)
    if origin is Literal:
        return "" if value in arguments else f"{path}: {value!r} is not one of {arguments}"
    if origin in (list, Iterable, Sequence):
        return _misfit_in_array(value, arguments[0], path)
    if origin is dict:
        return "" if isinstance(value, dict) else f"{path}: not an object"
    if origin is not None:
        return f"{path}: {hint} is not JSON"  # files, which the SDKs encode by themselves
    if hint is Any or hint is object:
        return ""
    kind = (int, float) if hint is float else hint or type(None)
    return "" if isinstance(value, kind) else f"{path}: {value!r} is not {hint}"


def _misfit_in_object(value: Any, hint: Any, path: str) -> str:
    if not isinstance(value, dict):
        return f"{path}: not an object"
    # Written as text in the SDKs, so `__required_keys__` does not know them.
    hints = get_type_hints(hint, include_extras=True)
    for name, wanted in hints.items():
        origin: Any = get_origin(wanted)
        if origin is Required and name not in value:
            return f"{path}.{name}: missing"
    for name, item in value.items():
        if name not in hints:
            return f"{path}.{name}: unknown to {hint.__name__}"
        if wrong := misfit(item, hints[name], f"{path}.{name}"):
            return wrong
    return ""


def _misfit_in_array(value: Any, hint: Any, path: str) -> str:
    if not isinstance(value, list):
        return f"{path}: not an array"
    misfits = (misfit(item, hint, f"{path}[{index}]") for index, item in enumerate(value))
    return next(filter(None, misfits), "")


def _misfit_of_all(value: Any, hints: tuple[Any, ...], path: str) -> str:
    misfits = [misfit(value, hint, path) for hint in hints]
    return "" if "" in misfits else " | ".join(misfits)
