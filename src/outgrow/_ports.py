"""The port that a server is to listen on, looked at before models are loaded."""

from __future__ import annotations

import socket

from outgrow.errors import ParameterError


def check_port(host: str, port: int, *, least: int = 1) -> None:
    """Refuse a port that cannot be listened on.

    Parameters
    ----------
    host : the address to bind.
    port : the port.
    least : 0 where 0 is for any free one.

    Raises
    ------
    ParameterError
        When there is no such port or address, or another process listens there.
    """
    if not least <= port <= 65535:
        free = ", or 0 for a free one" if least == 0 else ""
        raise ParameterError(f"--port {port}: give a number from 1 to 65535{free}.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
            probe.bind(address)
            probe.listen()
    except socket.gaierror as error:
        raise ParameterError(f"--host {host}: {error.strerror}. Give an address of this machine.") from None
    except OSError as error:
        raise ParameterError(
            f"Nothing can listen on {host}:{port}: {error.strerror}. Give another --port or --host, or stop "
            "what listens there."
        ) from None
