"""Ports: the five that TorchServe listens on, all on loopback."""

from __future__ import annotations

import socket

from model.problem import UserProblem

HOST = "127.0.0.1"
NAMES = ("inference", "management", "metrics", "grpc_inference", "grpc_management")


def choose_ports(first: int) -> dict[str, int]:
    """Return a port for each name: five in a row from the first, or any free ones for 0. Raises UserProblem."""
    if first == 0:
        return free_ports()
    ports = {name: first + offset for offset, name in enumerate(NAMES)}
    for name, number in ports.items():
        if not is_free(number):
            raise UserProblem(
                f"port {number} ({name}) is taken; stop what listens there, or choose another with --port "
                "(make: PORT=; 0: any)"
            )
    return ports


def free_ports() -> dict[str, int]:
    """Return five free ports; all are held while they are drawn, so that they differ."""
    held: list[socket.socket] = []
    try:
        for _ in NAMES:
            held.append(socket.socket())
            held[-1].bind((HOST, 0))
        return {name: one.getsockname()[1] for name, one in zip(NAMES, held)}
    finally:
        for one in held:
            one.close()


def is_free(number: int) -> bool:
    """Tell whether a server could listen on a port now."""
    with socket.socket() as probe:
        # Without this a connection that closed a minute ago would look like a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, number))
            probe.listen(1)
        except OSError:
            return False
    return True
