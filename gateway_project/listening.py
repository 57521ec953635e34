"""The one listening socket, bound before anything else so that a taken port is told at once."""

import errno
import socket

from gateway_project.environment import BadVariableError, Environment


def bind(environment: Environment) -> socket.socket:
    """Bind HOST and PORT, not listening yet, inheritable by the gateway processes.

    Raises:
        BadVariableError: the port is taken or forbidden, or the host is not this machine's.
    """
    host, port = environment.host, environment.port
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        raise _explained(error, host, port) from None
    bound.set_inheritable(True)
    return bound


def _explained(error: OSError, host: str, port: int) -> BadVariableError:
    if error.errno == errno.EADDRINUSE:
        return BadVariableError("PORT", f"{port} is taken on {host}; set another PORT")
    if error.errno == errno.EACCES:
        return BadVariableError("PORT", f"this user may not listen on {port}")
    return BadVariableError("HOST", f"cannot listen on {host}: {error.strerror}")
