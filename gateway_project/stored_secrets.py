"""Secrets that the gateway makes for itself on an embedded installation.

Each is made once, in a file below DATA_DIR that only its owner can read. Several processes
may start at the same moment: the first file linked into place wins and all read that one.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from gateway_project.environment import BadVariableError


def stored_secret(path: Path, make: Callable[[], str]) -> str:
    """Read a secret from its file, making it first where there is none.

    Raises:
        BadVariableError: the folder cannot be written, or the file cannot be read.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _write_once(path, make())
        secret = path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise BadVariableError("DATA_DIR", f"{path}: {error.strerror}") from None
    if not secret:
        raise BadVariableError("DATA_DIR", f"{path} is empty; put the lost secret back into it")
    return secret


def _write_once(path: Path, secret: str) -> None:
    # mkstemp gives mode 0600, and link() refuses to replace what another process has made.
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(draft)
