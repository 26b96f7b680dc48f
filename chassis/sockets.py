"""Listening sockets: opened here, or inherited from whoever started this process.

An inherited socket outlives the process: who connects while it is started again waits in the socket's queue instead of
being refused. The protocol is systemd's (sd_listen_fds): LISTEN_FDS sockets from descriptor 3 on, for LISTEN_PID.
"""

from __future__ import annotations

import os
import socket

FIRST_INHERITED = 3
BACKLOG = 4_096
"""How many may wait to be accepted, as far as the system allows."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Opens a listening socket for each address of the host. Raises OSError where the port is taken."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            opened.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # The address of the other family has a socket of its own.
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
    except OSError as error:
        for listening in opened:
            listening.close()
        raise OSError(error.errno, f"Cannot listen on {host}:{port}: {error.strerror or error}") from error
    return opened


def inherited() -> list[socket.socket]:
    """The listening sockets that this very process was given; none where it was given none."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isascii() or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(FIRST_INHERITED, FIRST_INHERITED + int(count)):
        # A child of this process must not hold it open.
        os.set_inheritable(descriptor, False)
        sockets.append(socket.socket(fileno=descriptor))
    # Taken once: a second call, or a child that happens to get this pid, finds nothing.
    del os.environ["LISTEN_PID"], os.environ["LISTEN_FDS"]
    return sockets
