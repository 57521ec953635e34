"""Breaks a gateway that was started with this folder on PYTHONPATH, and it alone.

Python imports this module before anything else. What `GATEWAY_INJECTED` names is done to the
product's modules as they are imported, so the product holds no switch for it.
"""

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

Patch = Callable[[ModuleType], None]


class _PatchingLoader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, patches: Sequence[Patch]) -> None:
        self._loader = loader
        self._patches = patches

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, patches: dict[str, list[Patch]]) -> None:
        self._patches = patches

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._patches:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _PatchingLoader(spec.loader, self._patches[fullname])
        return spec


def _install(names: Sequence[str]) -> None:
    patches: dict[str, list[Patch]] = {}
    for name in names:
        injected = importlib.import_module(f"tests.faults.injected.{name}")
        for module, patch in injected.PATCHES:
            patches.setdefault(module, []).append(patch)
    sys.meta_path.insert(0, _Finder(patches))


_install(os.environ.get("GATEWAY_INJECTED", "").split())
