"""YAML as the config file has it, and a cursor that knows where in the file it is.

Only the JSON-like core of YAML is read: `no` is a text and not false, a date is a text, a key
given twice is an error. Every refusal names the path (`teams[0].limits[2].window: …`).
"""

import re
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml
from django.core.exceptions import ValidationError

T = TypeVar("T")


class ConfigError(Exception):
    """The file cannot be applied; the text begins with the path to what is wrong."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}" if path else problem)


class _CoreLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                line = key.start_mark.line + 1
                raise ConfigError(f"line {line}", f"{key.value} is given twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _CoreLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def parse_yaml(text: str) -> "Node":
    """Raises ConfigError with the line where the text is no YAML."""
    try:
        return Node("", yaml.load(text, _CoreLoader))  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(line, f"is no YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ConfigError("", f"is no YAML: {error}") from None


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the file with the path to it. Absent values are None, like empty ones."""

    path: str
    value: Any

    def refuse(self, problem: str) -> ConfigError:
        return ConfigError(self.path, problem)

    def fields(self, known: Collection[str]) -> "Mapping[str, Node]":
        """The fields of an object; those that are absent have the value None."""
        if not isinstance(self.value, dict):
            raise self.refuse("must be an object with fields")
        for name in self.value:
            if name not in known:
                raise ConfigError(self._below(str(name)), f"no such field; {_list(known)}")
        return {name: Node(self._below(name), self.value.get(name)) for name in known}

    def _below(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def items(self) -> "Iterator[Node]":
        """The entries of a list; none when it is absent."""
        if self.value is None:
            return
        if not isinstance(self.value, list):
            raise self.refuse("must be a list")
        for position, value in enumerate(self.value):
            yield Node(f"{self.path}[{position}]", value)

    def required(self) -> "Node":
        if self.value is None:
            raise self.refuse("is missing")
        return self

    def text(self, default: str = "", longest: int = 500) -> str:
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            raise self.refuse(f"must be a text (in quotes), not {self.value!r}")
        if not self.value.strip() or self.value != self.value.strip() or "\0" in self.value:
            raise self.refuse("must not be empty, nor begin or end with a space")
        if len(self.value) > longest:
            raise self.refuse(f"must have at most {longest} characters")
        return self.value

    def name(self, longest: int) -> str:
        return self.required().text(longest=longest)

    def choice(self, choices: Collection[str], default: str | None = None) -> str:
        if self.value is None and default is not None:
            return default
        if self.required().value not in choices:
            raise self.refuse(f"must be one of {', '.join(choices)}, not {self.value!r}")
        return str(self.value)

    def boolean(self) -> bool:
        if self.value is None:
            return False
        if not isinstance(self.value, bool):
            raise self.refuse(f"must be true or false, not {self.value!r}")
        return self.value

    def whole(self, least: int, most: int, default: int | None = None) -> int:
        if self.value is None and default is not None:
            return default
        value = self.required().value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.refuse(f"must be a whole number from {least} to {most}, not {value!r}")
        return value

    def seconds(self, default: float) -> float:
        if self.value is None:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.refuse(f"must be a number of seconds, not {self.value!r}")
        if not 0 < self.value <= 3600:
            raise self.refuse("must be over 0 and at most 3600 seconds")
        return float(self.value)

    def parsed(self, parse: Callable[[Any], T]) -> T:
        """Hand the value to a function that raises ValueError or ValidationError."""
        try:
            return parse(self.value)
        except ValidationError as error:
            raise self.refuse(" ".join(error.messages)) from None
        except ValueError as error:
            raise self.refuse(str(error)) from None


def _list(known: Collection[str]) -> str:
    return f"the fields here are {', '.join(known)}"
