"""Ports for servers that have to be told theirs."""

import random
import socket
from pathlib import Path

FIRST, LAST_AT_LEAST = 10_000, 20_000


def free_ports(count: int) -> list:
    """`count` ports of 127.0.0.1 that nobody listens on. A port that the system picks (0) may become the own end of somebody's
    connection before the server listens on it: these lie below all that it picks, where the machine leaves any there."""
    picked_from, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    candidates = range(FIRST, max(int(picked_from), LAST_AT_LEAST))
    ports = []
    for port in random.sample(candidates, len(candidates)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports.append(port)
        if len(ports) == count:
            return ports
    raise RuntimeError(f"fewer than {count} ports from {candidates.start} to {candidates.stop - 1} are free")
